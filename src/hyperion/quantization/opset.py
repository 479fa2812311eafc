"""Raising the operator set of a model where a scheme needs it, with ONNX's own converter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hyperion.quantization.graph import all_graphs
from hyperion.quantization.survey import MINIMUM_BYTES

if TYPE_CHECKING:
    from onnx import ModelProto

RAISED = 13
"""The operator set that every scheme is content with."""


def opset_of(model: ModelProto) -> int:
    """The version of ONNX's own operators that a model uses."""
    return max((item.version for item in model.opset_import if item.domain in ("", "ai.onnx")), default=0)


def raised(model: ModelProto) -> ModelProto | None:
    """The model with operator set ``RAISED``, or None where that cannot be done safely.

    The converter sees weights as inputs, so that it neither needs nor copies their values. A model with branches stays
    as it is: the converter would move what stands in them.
    """
    from onnx import helper, version_converter

    if opset_of(model) >= RAISED or len(list(all_graphs(model.graph))) > 1 or model.functions:
        return None
    light = type(model)()
    light.CopyFrom(model)
    held = [tensor for tensor in model.graph.initializer if _is_large(len(tensor.raw_data), tensor.data_location)]
    names = {tensor.name for tensor in held}
    small = [type(t).FromString(t.SerializeToString()) for t in model.graph.initializer if t.name not in names]
    del light.graph.initializer[:]
    light.graph.initializer.extend(small)
    inputs = {value.name for value in model.graph.input}
    light.graph.input.extend(
        helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
        for tensor in held
        if tensor.name not in inputs
    )
    try:
        found = version_converter.convert_version(light, RAISED)
    except (RuntimeError, ValueError, IndexError):  # it knows no way for some operator
        return None
    if {value.name for value in found.graph.input} != inputs | names:
        return None
    if [value.name for value in found.graph.output] != [value.name for value in model.graph.output]:
        return None
    for field in ("input", "output"):  # as they were, without shapes that the converter inferred
        del getattr(found.graph, field)[:]
        getattr(found.graph, field).extend(getattr(model.graph, field))
    del found.graph.value_info[:]
    found.graph.initializer.extend(held)
    found.ir_version = model.ir_version
    del found.metadata_props[:]
    found.metadata_props.extend(model.metadata_props)
    return found


def _is_large(inline_bytes: int, location: int) -> bool:
    return inline_bytes >= MINIMUM_BYTES or location != 0
