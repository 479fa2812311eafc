"""Rewriting a graph so that chosen weights are stored in few bits."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hyperion.domain.scheme import W4_BLOCK
from hyperion.quantization.candidate import Candidate, Kind, Scheme
from hyperion.quantization.gemm import FLOAT, Reader
from hyperion.quantization.graph import all_graphs
from hyperion.quantization.rounding import FULL_MAX, REDUCED_MAX, UNSIGNED_ZERO, int8_by_axis, w4_blocks

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnx import GraphProto, ModelProto, NodeProto

MICROSOFT = "com.microsoft"
ACCURACY_LEVEL = 4
"""MatMulNBits computes with int8 activations: the only level whose kernels are fast (ENGINE.md, section 1)."""
_INT64, _INT32 = 7, 6


@dataclass(frozen=True, slots=True)
class Rounded:
    """A weight in few bits.

    Attributes:
        kind: How its uses read it.
        columns: Size of its last axis in float.
        rows: Size of its first axis in float.
        parts: Arrays by suffix; their names in the graph are the weight's name and the suffix.
    """

    kind: Kind
    rows: int
    columns: int
    parts: Mapping[str, NDArray[Any]]


def round_weight(candidate: Candidate, weight: NDArray[Any], scheme: Scheme, *, full_range: bool) -> Rounded:
    """Round one weight as its kind needs it.

    Args:
        candidate: The weight.
        weight: Its values, float32 and finite.
        scheme: int8 or w4.
        full_range: Whether int8 may use -127…127.
    """
    shape = weight.shape
    if scheme == "w4":
        blocks = w4_blocks(np.ascontiguousarray(weight.T) if candidate.kind == "matmul" else weight)
        values = blocks.values
        if candidate.kind == "gather":  # one row of packed values for each row of the table
            values = values.reshape(shape[0], -1)
        packed: dict[str, NDArray[Any]] = {"w4": values, "w4_scale": blocks.scales, "w4_zero": blocks.zero_points}
        return Rounded(candidate.kind, shape[0], shape[1], packed)
    largest = FULL_MAX if full_range else REDUCED_MAX
    parts: dict[str, NDArray[Any]]
    if candidate.kind == "conv":
        # ConvInteger has kernels for unsigned weights alone; those never saturate, so all of the range is used.
        signed, scales = int8_by_axis(weight, 0, FULL_MAX)
        unsigned = (signed.astype(np.int16) + UNSIGNED_ZERO).astype(np.uint8)
        parts = {"int8": unsigned, "scale": scales.reshape(-1, *([1] * (weight.ndim - 2)))}
    else:
        signed, scales = int8_by_axis(weight, 1 if candidate.kind == "matmul" else 0, largest)
        parts = {"int8": signed, "scale": scales if candidate.kind == "matmul" else scales.reshape(-1, 1)}
    return Rounded(candidate.kind, shape[0], shape[-1], parts)


def rewrite(model: ModelProto, rounded: Mapping[str, Rounded], scheme: Scheme) -> dict[str, str]:
    """Store the rounded weights in place of the float ones.

    Args:
        model: Changed in place.
        rounded: By key.
        scheme: How they were rounded.

    Returns:
        Key of every new tensor → key of the weight that it stands for.
    """
    names = _Names(model)
    graphs = list(all_graphs(model.graph))
    stored: dict[str, Stored] = {}
    origins: dict[str, str] = {}
    for path, graph in graphs:
        own = {tensor.name: part for tensor in graph.initializer if (part := rounded.get(path + tensor.name))}
        if own:
            found = _store(graph, own, names)
            stored |= found
            origins |= {path + new: path + name for name, part in found.items() for new in part.names.values()}
    for _, graph in reversed(graphs):  # inner before outer: an outer node is copied with the graphs in it
        if any(name in stored for node in graph.node for name in node.input):
            _GraphRewriter(graph, stored, scheme, names).run()
    if scheme == "w4" and rounded and not any(item.domain == MICROSOFT for item in model.opset_import):
        model.opset_import.add(domain=MICROSOFT, version=1)
    return origins


def read_weights(
    model: ModelProto, candidates: Collection[Candidate], read: Reader, scheme: Scheme, *, full_range: bool
) -> tuple[dict[str, Rounded], dict[str, str]]:
    """Round all candidates; those with non-finite values are left out, each with the reason."""
    tensors = {path + t.name: t for path, graph in all_graphs(model.graph) for t in graph.initializer}
    rounded: dict[str, Rounded] = {}
    reasons: dict[str, str] = {}
    for candidate in candidates:
        weight = read(tensors[candidate.key])
        if np.isfinite(weight).all():
            rounded[candidate.key] = round_weight(candidate, weight, scheme, full_range=full_range)
        else:
            reasons[candidate.key] = "holds NaN or infinite values"
    return rounded, reasons


@dataclass(frozen=True, slots=True)
class Stored:
    """A rounded weight in the graph: the names of its parts by suffix."""

    rounded: Rounded
    names: Mapping[str, str]


def _store(graph: GraphProto, rounded: Mapping[str, Rounded], names: _Names) -> dict[str, Stored]:
    """Exchange the initializers of one graph; returns what became of each weight, by its name."""
    from onnx import numpy_helper

    kept = [
        type(tensor).FromString(tensor.SerializeToString())
        for tensor in graph.initializer
        if tensor.name not in rounded
    ]
    stored: dict[str, Stored] = {}
    for weight, rounding in rounded.items():
        parts = {suffix: names.fresh(f"{weight}_{suffix}") for suffix in rounding.parts}
        for suffix, array in rounding.parts.items():
            kept.append(numpy_helper.from_array(np.ascontiguousarray(array), parts[suffix]))
        stored[weight] = Stored(rounding, parts)
    del graph.initializer[:]
    graph.initializer.extend(kept)
    return stored


class _Names:
    """New names that nothing in the model has."""

    def __init__(self, model: ModelProto) -> None:
        self._taken: set[str] = set()
        for _, graph in all_graphs(model.graph):
            self._taken.update(tensor.name for tensor in graph.initializer)
            self._taken.update(value.name for value in [*graph.input, *graph.output])
            for node in graph.node:
                self._taken.update([*node.input, *node.output, node.name])

    def fresh(self, wanted: str) -> str:
        while wanted in self._taken:
            wanted += "_"
        self._taken.add(wanted)
        return wanted


class _GraphRewriter:
    """One graph; weights may be stored in it or in an outer one."""

    def __init__(self, graph: GraphProto, stored: Mapping[str, Stored], scheme: Scheme, names: _Names) -> None:
        self._graph = graph
        self._stored = stored
        self._scheme = scheme
        self._names = names
        self._nodes: list[NodeProto] = []
        self._activations: dict[str, tuple[str, str, str]] = {}
        self._constants: dict[str, str] = {}

    def run(self) -> None:
        for node in self._graph.node:
            weight = next((self._stored[name] for name in node.input if name in self._stored), None)
            if weight is None:
                self._nodes.append(type(node).FromString(node.SerializeToString()))
            elif self._scheme == "w4":
                self._w4(node, weight.rounded, weight.names)
            else:
                self._int8(node, weight.rounded, weight.names)
        del self._graph.node[:]
        self._graph.node.extend(self._nodes)

    def _add(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        from onnx import helper

        node = helper.make_node(operator, inputs, [output], self._names.fresh(f"{output}_{operator}"), **attributes)
        self._nodes.append(node)
        return output

    def _constant(self, name: str, array: NDArray[Any]) -> str:
        from onnx import numpy_helper

        if name not in self._constants:
            self._constants[name] = self._names.fresh(name)
            self._graph.initializer.append(numpy_helper.from_array(array, self._constants[name]))
        return self._constants[name]

    def _activation(self, name: str) -> tuple[str, str, str]:
        """Values, scale and zero point of an activation, quantized while running; once for all that read it."""
        from onnx import helper

        if name not in self._activations:
            found = tuple(self._names.fresh(f"{name}_{part}") for part in ("u8", "u8_scale", "u8_zero"))
            self._nodes.append(
                helper.make_node("DynamicQuantizeLinear", [name], found, self._names.fresh(f"{name}_quantize"))
            )
            self._activations[name] = (found[0], found[1], found[2])
        return self._activations[name]

    def _int8(self, node: NodeProto, rounded: Rounded, parts: Mapping[str, str]) -> None:
        if rounded.kind == "gather":
            self._int8_gather(node, parts)
            return
        values, scale, zero = self._activation(node.input[0])
        output = node.output[0]
        total = self._names.fresh(f"{output}_i32")
        if rounded.kind == "matmul":
            self._add("MatMulInteger", [values, parts["int8"], zero], total)
        else:
            middle = self._constant("conv_weight_zero", np.array(UNSIGNED_ZERO, np.uint8))
            self._add("ConvInteger", [values, parts["int8"], zero, middle], total)
            self._nodes[-1].attribute.extend(node.attribute)
        total = self._add("Cast", [total], self._names.fresh(f"{output}_f32"), to=FLOAT)
        scales = self._add("Mul", [scale, parts["scale"]], self._names.fresh(f"{output}_scale"))
        bias = node.input[2] if rounded.kind == "conv" and len(node.input) > 2 else ""
        product = self._names.fresh(f"{output}_unbiased") if bias else output
        self._add("Mul", [total, scales], product)
        if bias:
            rank = len(rounded.parts["int8"].shape)
            shape = self._constant(f"bias_shape_{rank}", np.array([1, -1] + [1] * (rank - 2), np.int64))
            column = self._add("Reshape", [bias, shape], self._names.fresh(f"{output}_bias"))
            self._add("Add", [product, column], output)

    def _int8_gather(self, node: NodeProto, parts: Mapping[str, str]) -> None:
        output, indices = node.output[0], node.input[1]
        rows = self._add("Gather", [parts["int8"], indices], self._names.fresh(f"{output}_i8"), axis=0)
        scales = self._add("Gather", [parts["scale"], indices], self._names.fresh(f"{output}_scale"), axis=0)
        values = self._add("Cast", [rows], self._names.fresh(f"{output}_f32"), to=FLOAT)
        self._add("Mul", [values, scales], output)

    def _w4(self, node: NodeProto, rounded: Rounded, parts: Mapping[str, str]) -> None:
        stored = [parts["w4"], parts["w4_scale"], parts["w4_zero"]]
        if rounded.kind == "gather":
            self._add(
                "GatherBlockQuantized", [stored[0], node.input[1], *stored[1:]], node.output[0], domain=MICROSOFT,
                gather_axis=0, quantize_axis=1, block_size=W4_BLOCK, bits=4,
            )  # fmt: skip
        else:
            self._add(
                "MatMulNBits", [node.input[0], *stored], node.output[0], domain=MICROSOFT,
                K=rounded.rows, N=rounded.columns, bits=4, block_size=W4_BLOCK, accuracy_level=ACCURACY_LEVEL,
            )  # fmt: skip
