"""How a model is loaded that is run a few times only, while it is being packaged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hyperion.adapters.onnx.types import is_storable, tensor_bytes
from hyperion.ports import PREPACKED_BYTES, SessionOptions
from hyperion.quantization.graph import all_graphs

if TYPE_CHECKING:
    from onnx import ModelProto


def passing_options(model: ModelProto) -> SessionOptions:
    """Options under which a model's memory does not grow with its weights."""
    return SessionOptions(prepacking=weight_bytes(model) <= PREPACKED_BYTES)


def weight_bytes(model: ModelProto) -> int:
    """Bytes of all initializers, wherever they lie."""
    return sum(
        tensor_bytes(tensor.data_type, tensor.dims)
        for _, graph in all_graphs(model.graph)
        for tensor in graph.initializer
        if is_storable(tensor.data_type)
    )
