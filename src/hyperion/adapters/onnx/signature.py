"""What an ONNX graph says of itself: inputs, outputs, what it asks of an engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hyperion.adapters.onnx.types import dtype_of
from hyperion.domain.manifest import EngineRequirement
from hyperion.domain.tensor import Dimension, Signature, TensorSpec
from hyperion.errors import ModelSourceError
from hyperion.quantization.graph import all_graphs

if TYPE_CHECKING:
    from onnx import ModelProto, ValueInfoProto

MINIMUM_ENGINE_VERSION = "1.23"
"""The oldest ONNX Runtime that packages are tested with."""
_ONNX_DOMAIN = "ai.onnx"


def signature_of(model: ModelProto, source: str) -> Signature:
    """Inputs and outputs of a model; an input that is also an initializer is optional (see onnx_source.read_source).

    Raises:
        ModelSourceError: Something that is no tensor goes in or comes out (code ``model_source.not_a_tensor``).
    """
    held = {tensor.name for tensor in model.graph.initializer}
    return Signature(
        inputs=tuple(
            _spec(value, source, "input").model_copy(update={"optional": value.name in held})
            for value in model.graph.input
        ),
        outputs=tuple(_spec(value, source, "output") for value in model.graph.output),
    )


def _spec(value: ValueInfoProto, source: str, kind: str) -> TensorSpec:
    if not value.type.HasField("tensor_type") or not value.name:
        found = value.type.WhichOneof("value") or "nothing"
        raise ModelSourceError(
            f"{source}: the {kind} {value.name!r} is no tensor but a {found.removesuffix('_type')}",
            hint="export without ZipMap, for scikit-learn with options={'zipmap': False}",
            code="model_source.not_a_tensor",
        )
    tensor = value.type.tensor_type
    shape: list[Dimension] | None = None
    if tensor.HasField("shape"):
        shape = []
        for size in tensor.shape.dim:
            fixed = size.HasField("dim_value") and size.dim_value >= 0
            shape.append(size.dim_value if fixed else size.dim_param)
    return TensorSpec(name=value.name, dtype=dtype_of(tensor.elem_type), shape=None if shape is None else tuple(shape))


def requirement_of(model: ModelProto) -> EngineRequirement:
    """What an engine must offer to run a model."""
    functions = {(function.domain, function.name) for function in model.functions}
    nodes = [node for _, graph in all_graphs(model.graph) for node in graph.node]
    nodes += [node for function in model.functions for node in function.node]
    operators = {
        f"{node.domain or _ONNX_DOMAIN}::{node.op_type}"
        for node in nodes
        if (node.domain, node.op_type) not in functions
    }
    return EngineRequirement(
        minimum_version=MINIMUM_ENGINE_VERSION,
        opsets={opset.domain or _ONNX_DOMAIN: opset.version for opset in model.opset_import},
        operators=tuple(sorted(operators)),
    )
