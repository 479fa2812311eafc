"""Inputs with a default: initializers that also stand among the inputs of a graph."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from hyperion.adapters.onnx.types import is_storable, tensor_bytes
from hyperion.quantization.graph import all_graphs, initializer_uses

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, TensorProto

FIRST_IR_WITH_HIDDEN_WEIGHTS = 4
"""Before this version of ONNX every initializer had to be listed as an input, so that it meant nothing."""
MAX_DEFAULT_BYTES = 64 * 1024
"""A larger default is no setting that a request would carry, but a weight."""

_MATRIX_OPERATORS = frozenset({"Conv", "ConvTranspose", "GRU", "Gather", "Gemm", "LSTM", "MatMul", "RNN"})


def settle_inputs(model: ModelProto) -> tuple[str, ...]:
    """Leave only those initializers among the inputs that are meant as optional inputs.

    From IR version 4 on the list is the model's word that a caller may replace an initializer. Some exporters list
    all of them all the same: where that takes in a weight matrix, it is a habit, not a wish.

    Returns:
        What a person should know: which inputs are weights and cannot be replaced.
    """
    listed = {value.name for value in model.graph.input}
    sparse = {tensor.values.name for tensor in model.graph.sparse_initializer}
    defaults = [tensor for tensor in model.graph.initializer if tensor.name in listed]
    if model.ir_version < FIRST_IR_WITH_HIDDEN_WEIGHTS:
        for _, graph in all_graphs(model.graph):
            own = {tensor.name for tensor in graph.initializer}
            _unlist(graph, own | {tensor.values.name for tensor in graph.sparse_initializer})
        model.ir_version = FIRST_IR_WITH_HIDDEN_WEIGHTS
        return ()
    if len(defaults) == len(model.graph.initializer) and _holds_matrix(model, listed):
        _unlist(model.graph, {tensor.name for tensor in defaults} | sparse)
        habit = f"all {len(defaults)} weights stand among the model's inputs, as some exporters write it"
        return (f"{habit}: none of them is taken for an optional input",)
    faults = dict.fromkeys(sorted(sparse & listed), "is sparse")
    for tensor in defaults:
        size = _size(tensor)
        if size > MAX_DEFAULT_BYTES:
            faults[tensor.name] = f"has {size} bytes, more than {MAX_DEFAULT_BYTES}"
    _unlist(model.graph, faults)
    return tuple(
        f"the default of the input {name!r} {fault}: it becomes a weight, which no request can replace"
        for name, fault in faults.items()
    )


def optional_inputs(model: ModelProto) -> frozenset[str]:
    """Names of the inputs that have a default, after settle_inputs."""
    return frozenset(value.name for value in model.graph.input) & {tensor.name for tensor in model.graph.initializer}


def _holds_matrix(model: ModelProto, listed: Collection[str]) -> bool:
    return any(
        use.key in listed and use.node.op_type in _MATRIX_OPERATORS and sum(size != 1 for size in use.tensor.dims) >= 2
        for use in initializer_uses(model.graph)
    )


def _size(tensor: TensorProto) -> int:
    if is_storable(tensor.data_type):
        return tensor_bytes(tensor.data_type, tensor.dims)
    return sum(map(len, tensor.string_data))


def _unlist(graph: GraphProto, names: Collection[str]) -> None:
    """Take names out of a graph's inputs."""
    kept = [
        type(value).FromString(value.SerializeToString()) for value in graph.input if value.name not in names
    ]  # fmt: skip
    if len(kept) != len(graph.input):
        del graph.input[:]
        graph.input.extend(kept)
