"""The float matrices of a model: how its nodes read each of them, and which schemes that allows."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from hyperion.domain.manifest import WeightScheme
from hyperion.domain.scheme import W4_BLOCK
from hyperion.quantization.graph import Use, all_graphs, ambiguous_names, uses_by_key

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto

Reading = Literal["matmul", "turned", "conv", "gather", "other"]
"""``matmul``: [inputs, outputs], the right operand of a product; ``turned``: the same, stored the other way round;
``conv``: [outputs, inputs, …]; ``gather``: a table whose rows are looked up; ``other``: no scheme but fp16 takes it."""

FLOAT = 1
"""TensorProto.FLOAT and AttributeProto.FLOAT."""
MINIMUM_BYTES = 1024
"""Smaller weights gain less than their scales and the extra nodes cost."""
SCHEMES: tuple[WeightScheme, ...] = ("int8", "w8", "w4", "static-int8", "fp16")
"""All but ``none``, which every weight can take."""
HALF_MAX = 65504.0
"""Largest finite float16."""
_LARGEST_ROUNDED = 1e38
"""Twice this, the width of a block, is still a finite float32."""

_COVERED: Mapping[WeightScheme, frozenset[Reading]] = {
    "int8": frozenset({"matmul", "turned", "conv", "gather"}),
    "w8": frozenset({"matmul", "turned", "gather"}),
    "w4": frozenset({"matmul", "turned", "gather"}),
    "static-int8": frozenset({"matmul", "turned", "conv"}),
}
_TYPE_NAMES = {10: "float16", 11: "float64", 16: "bfloat16"}
_ONNX = ("", "ai.onnx")


@dataclass(frozen=True, slots=True)
class Reader:
    """A node that reads a weight.

    Attributes:
        scope: Path of the graph that it stands in.
        node: It; behind a Transpose, the node that reads what that gives.
        reading: How it reads the weight.
        factor: What it multiplies the weight with (``alpha`` of Gemm).
        transpose: The Transpose between the weight and it.
    """

    scope: str
    node: NodeProto
    reading: Reading
    factor: float = 1.0
    transpose: NodeProto | None = None


@dataclass(frozen=True, slots=True)
class FloatWeight:
    """A float matrix of a model.

    Attributes:
        key: Path of its graph and its name.
        tensor: It.
        readers: Every node that reads it.
        fault: Why no scheme at all takes it.
    """

    key: str
    tensor: TensorProto
    readers: tuple[Reader, ...]
    fault: str | None

    @property
    def readings(self) -> frozenset[Reading]:
        return frozenset(reader.reading for reader in self.readers)

    @property
    def dims(self) -> tuple[int, ...]:
        return tuple(self.tensor.dims)

    @property
    def factor(self) -> float:
        """What every reader multiplies it with."""
        return self.readers[0].factor

    @property
    def down(self) -> bool:
        """Whether its output channels run down the stored matrix (are its columns) instead of along it."""
        return self.readings == {"matmul"}

    @property
    def named(self) -> str:
        """The operators that read it."""
        return " and ".join(sorted({reader.node.op_type for reader in self.readers}))


def survey(model: ModelProto) -> tuple[FloatWeight, ...]:
    """Every float matrix that a node reads, in topological order; vectors (biases, scales) are left out."""
    fixed = {path + value.name for path, graph in all_graphs(model.graph) for value in [*graph.input, *graph.output]}
    ambiguous = ambiguous_names(model)
    products = _turned_products(model, ambiguous)
    found = []
    for key, uses in uses_by_key(model.graph).items():
        tensor = uses[0].tensor
        if tensor.data_type in (FLOAT, *_TYPE_NAMES) and sum(size != 1 for size in tensor.dims) >= 2:
            readers = tuple(reader for use in uses for reader in _readers(use, products))
            found.append(FloatWeight(key, tensor, readers, _fault(key, tensor, fixed, ambiguous)))
    return tuple(found)


def refusal(weight: FloatWeight, scheme: WeightScheme, peak: float, opset: int) -> str | None:
    """Why a weight cannot take a scheme, or None where it can.

    Args:
        weight: It.
        scheme: Any but ``none``.
        peak: Its largest magnitude; not finite where any of its values is not.
        opset: The operator set that the model has or can be raised to.
    """
    needed = NEEDED_OPSET.get(scheme, 1)
    if weight.fault is not None:
        return weight.fault
    if not math.isfinite(peak):
        return "holds NaN or infinite values"
    if opset < needed:
        return f"{scheme} needs operator set {needed}; the model has {opset} and cannot be raised"
    if scheme == "fp16":
        return None if peak < HALF_MAX else f"holds values up to {peak:.3g}, more than float16 can"
    if peak > _LARGEST_ROUNDED:
        return f"holds values up to {peak:.3g}, too large to be scaled"
    fault = _reading_fault(weight, scheme)
    if fault is None and scheme == "static-int8" and any(reader.scope for reader in weight.readers):
        return "stands in a branch, where the ranges of activations cannot be measured"
    return fault


NEEDED_OPSET: Mapping[WeightScheme, int] = {"int8": 11, "static-int8": 13, "fp16": 6}
"""DynamicQuantizeLinear came with 11, DequantizeLinear along an axis with 13, Cast as it is now with 6."""


def _fault(key: str, tensor: TensorProto, fixed: Collection[str], ambiguous: Collection[str]) -> str | None:
    if tensor.data_type != FLOAT:
        return f"is {_TYPE_NAMES[tensor.data_type]}; only float32 is quantized"
    if 4 * math.prod(tensor.dims) < MINIMUM_BYTES:
        return f"has {4 * math.prod(tensor.dims)} bytes: too small to gain"
    if key in fixed:
        return "is an input or output of its graph"
    return "has a name that several graphs use" if tensor.name in ambiguous else None


def _reading_fault(weight: FloatWeight, scheme: WeightScheme) -> str | None:
    readings = weight.readings
    if not readings <= _COVERED[scheme]:
        return _uncovered(weight, scheme)
    blended = readings - {"turned"} if "gather" in readings else readings  # a table and its transpose are stored alike
    if len(blended) > 1 or len({reader.factor for reader in weight.readers}) > 1:
        return f"is shared by {weight.named}, which need it in different forms"
    if scheme in ("w8", "w4") and "gather" in readings and weight.dims[1] % W4_BLOCK:
        return f"has rows of {weight.dims[1]}, no multiple of the block of {W4_BLOCK}"
    return None


def _uncovered(weight: FloatWeight, scheme: WeightScheme) -> str:
    """Why its readers read it otherwise than the scheme can store it."""
    operators = {reader.node.op_type for reader in weight.readers}
    rank = len(weight.dims)
    if "other" not in weight.readings:
        return f"is used by {weight.named}, which {scheme} does not cover"
    if operators == {"MatMul"} and rank > 2:
        return f"is a batch of matrices (rank {rank}); {scheme} covers single ones"
    if operators == {"MatMul"}:
        return f"is the left operand of MatMul; {scheme} covers the right one"
    if operators == {"Gather"}:
        return f"is gathered along another axis than its rows, which {scheme} does not cover"
    return f"is used by {weight.named}, which {scheme} does not cover"


def _readers(use: Use, products: Mapping[tuple[str, str], Sequence[Reader]]) -> Iterator[Reader]:
    node = use.node
    if node.op_type == "Transpose" and (use.scope, node.output[0]) in products and len(use.tensor.dims) == 2:
        for product in products[use.scope, node.output[0]]:
            yield Reader(use.scope, product.node, "turned", transpose=node)
        return
    reading, factor = _reading(node, use.position, len(use.tensor.dims))
    yield Reader(use.scope, node, reading, factor)


def _reading(node: NodeProto, position: int, rank: int) -> tuple[Reading, float]:
    if node.domain not in _ONNX:
        return "other", 1.0
    if (node.op_type, position, rank) == ("MatMul", 1, 2):
        return "matmul", 1.0
    if (node.op_type, position, rank) == ("Gemm", 1, 2):
        return ("turned" if number(node, "transB", 0) else "matmul"), number(node, "alpha", 1.0)
    if (node.op_type, position) == ("Conv", 1) and rank >= 3:
        return "conv", 1.0
    if (node.op_type, position, rank) == ("Gather", 0, 2) and number(node, "axis", 0) in (0, -2):
        return "gather", 1.0
    return "other", 1.0


def _turned_products(model: ModelProto, ambiguous: Collection[str]) -> dict[tuple[str, str], list[Reader]]:
    """Results of Transpose that nothing but MatMul reads, as its right operand; by scope and name.

    Exporters write so what ties the last layer to the embedding table.
    """
    found: dict[tuple[str, str], list[Reader]] = {}
    for path, graph in all_graphs(model.graph):
        outputs = {value.name for value in graph.output}
        for node in graph.node:
            if node.op_type == "Transpose" and node.output[0] not in outputs | set(ambiguous) and _swaps(node):
                readers = _product_readers(graph, path, node.output[0])
                if readers:
                    found[path, node.output[0]] = readers
    return found


def _swaps(node: NodeProto) -> bool:
    order = next((list(attribute.ints) for attribute in node.attribute if attribute.name == "perm"), [1, 0])
    return order == [1, 0]


def _product_readers(graph: GraphProto, path: str, name: str) -> list[Reader]:
    """All readers of a value, or none where any of them is not MatMul with it on the right."""
    readers = []
    for inner, child in all_graphs(graph, path):
        for node in child.node:
            positions = [position for position, read in enumerate(node.input) if read == name]
            if positions and (inner != path or node.op_type != "MatMul" or positions != [1]):
                return []
            readers += [Reader(path, node, "turned") for _ in positions]
        if inner != path and any(value.name == name for value in child.output):
            return []
    return readers


def number(node: NodeProto, name: str, default: float) -> float:
    """A numeric attribute of a node."""
    for attribute in node.attribute:
        if attribute.name == name:
            return float(attribute.f if attribute.type == FLOAT else attribute.i)
    return default
