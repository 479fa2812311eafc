"""Which tensors of a graph are weights, and moving them out of it into layers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from hyperion.adapters.onnx.defaults import optional_inputs
from hyperion.adapters.onnx.parts import EXTERNAL
from hyperion.adapters.onnx.source import SourceModel
from hyperion.adapters.onnx.types import dtype_of, is_storable, stored_as, tensor_bytes
from hyperion.domain.layer import LayerPlan, WeightUse
from hyperion.domain.manifest import SchemeName
from hyperion.format.weights import PAD_PREFIX, WeightTensor
from hyperion.ports import PreparedLayer
from hyperion.quantization.graph import Use, all_graphs, initializer_uses

if TYPE_CHECKING:
    from onnx import ModelProto, TensorProto

HOISTED_BYTES = 1024
"""Any initializer above this is stored as a weight."""

WEIGHTED_OPERATORS = frozenset({
    "Add", "BatchNormalization", "Conv", "ConvInteger", "ConvTranspose", "DequantizeLinear", "GRU", "Gather",
    "GatherBlockQuantized", "Gemm", "GroupNormalization", "InstanceNormalization", "LSTM", "LayerNormalization",
    "MatMul", "MatMulInteger", "MatMulNBits", "Mul", "PRelu", "QLinearConv", "QLinearMatMul", "QuickGelu", "RNN",
    "SimplifiedLayerNormalization", "SkipLayerNormalization", "SkipSimplifiedLayerNormalization", "Sub",
})  # fmt: skip
"""Operators whose small float or 8-bit operands are weights too, so that a layer's bias stands with its matrix."""

_NUMERIC = frozenset({"float32", "float16", "bfloat16", "float64", "int8", "uint8"})


def weight_uses(model: ModelProto) -> tuple[WeightUse, ...]:
    """Every weight at its first use, in topological order; the defaults of optional inputs are none."""
    first: dict[str, Use] = {}
    operands: dict[str, bool] = {}
    defaults = optional_inputs(model)
    for use in initializer_uses(model.graph):
        first.setdefault(use.key, use)
        operands[use.key] = operands.get(use.key, True) and use.node.op_type in WEIGHTED_OPERATORS
    found = [
        WeightUse(
            key, use.tensor.name, _node_name(use), len(use.tensor.dims),
            tensor_bytes(use.tensor.data_type, use.tensor.dims),
        )
        for key, use in first.items()
        if key not in defaults and _is_weight(use.tensor, only_operand=operands[key])
    ]  # fmt: skip
    return (*found, *_unread(model, {*first, *defaults}))


def _unread(model: ModelProto, read: Collection[str]) -> Iterator[WeightUse]:
    """Large initializers that no node reads, such as those that are outputs themselves."""
    for path, graph in all_graphs(model.graph):
        for tensor in graph.initializer:
            if path + tensor.name not in read and _is_weight(tensor, only_operand=False):
                size = tensor_bytes(tensor.data_type, tensor.dims)
                yield WeightUse(path + tensor.name, tensor.name, tensor.name, len(tensor.dims), size)


def _is_weight(tensor: TensorProto, *, only_operand: bool) -> bool:
    if not is_storable(tensor.data_type):
        return False
    if tensor.data_location == EXTERNAL or tensor_bytes(tensor.data_type, tensor.dims) > HOISTED_BYTES:
        return True
    return only_operand and len(tensor.dims) > 0 and dtype_of(tensor.data_type) in _NUMERIC and 0 not in tensor.dims


def _node_name(use: Use) -> str:
    return use.scope + (use.node.name or (use.node.output[0] if use.node.output else use.node.op_type))


def hoist(
    source: SourceModel,
    plans: Sequence[LayerPlan],
    origins: Mapping[str, str],
    scheme_of: Callable[[str], SchemeName],
    entry_of: Callable[[int], str],
) -> tuple[PreparedLayer, ...]:
    """Replace every weight of the model by a reference; returns the layers that hold them.

    Args:
        source: Its model is changed in place.
        plans: The layers, by keys of the model before it was quantized.
        origins: Key of each tensor that quantizing made → key of the weight that it stands for.
        scheme_of: Scheme of a tensor by its key in this model.
        entry_of: Name of layer N's entry.
    """
    layer_of = {key: index for index, plan in enumerate(plans) for key in plan.keys}
    order = {key: position for position, key in enumerate(key for plan in plans for key in plan.keys)}
    members: list[list[tuple[int, str, TensorProto]]] = [[] for _ in plans]
    for path, graph in all_graphs(source.model.graph):
        for tensor in graph.initializer:
            key = path + tensor.name
            origin = origins.get(key, key)
            if origin in layer_of:
                members[layer_of[origin]].append((order[origin], key, tensor))
    layers = []
    for index, plan in enumerate(plans):
        names: set[str] = set()
        tensors, schemes = [], []
        for _, key, tensor in sorted(members[index], key=lambda member: member[:2]):
            name = _unique(tensor.name, names)
            tensors.append(_taken(source, tensor, name))
            schemes.append(scheme_of(key))
            _refer(tensor, entry_of(index), name)
        layers.append(PreparedLayer(plan.name, tuple(tensors), tuple(schemes)))
    return tuple(layers)


def _unique(name: str, taken: set[str]) -> str:
    """``name``, unless it is reserved in safetensors or stands for another tensor of the layer already."""
    found, count = name, 1
    if not name or name == "__metadata__" or name.startswith(PAD_PREFIX):
        found = f"tensor:{name}"
    base = found
    while found in taken:
        count += 1
        found = f"{base}#{count}"
    taken.add(found)
    return found


def _taken(source: SourceModel, tensor: TensorProto, name: str) -> WeightTensor:
    dtype, shape = stored_as(tensor.data_type, tensor.dims)
    size = tensor_bytes(tensor.data_type, tensor.dims)
    copy = type(tensor)()
    copy.CopyFrom(tensor)
    return WeightTensor(name, dtype, shape, size, partial(source.raw, copy))


def _refer(tensor: TensorProto, entry: str, name: str) -> None:
    tensor.ClearField("raw_data")
    tensor.data_location = EXTERNAL  # type: ignore[assignment]
    del tensor.external_data[:]
    for key, value in (("location", entry), ("tensor", name)):
        tensor.external_data.add(key=key, value=value)
