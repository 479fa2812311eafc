"""Reading model.onnx as someone else wrote it: external parts inside its directory only, nothing taken on trust."""

from __future__ import annotations

import mmap
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from hyperion.adapters.onnx.defaults import optional_inputs, settle_inputs
from hyperion.adapters.onnx.noted_shapes import notes_of
from hyperion.adapters.onnx.parts import (
    EXTERNAL,
    bad_reference,
    check_reference,
    refer,
    refuse_external_attributes,
    refuse_external_in_functions,
    refuse_pointer,
)
from hyperion.adapters.onnx.skeleton import IN_FILE, skeleton_of
from hyperion.adapters.onnx.types import is_storable, tensor_bytes
from hyperion.adapters.sandbox.untrusted_models import validate_source
from hyperion.errors import HostError, ModelSourceError
from hyperion.quantization.graph import all_graphs, child_graphs

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto

MAX_MODEL_BYTES = 2**31 - 1
"""Protobuf's own limit; larger models keep their weights in external parts."""
HOISTED_CONSTANT_BYTES = 1024
"""Constant nodes above this are weights."""


@dataclass(frozen=True, slots=True)
class SourceModel:
    """A model and the folder of its external parts.

    Attributes:
        model: Weights are initializers; each holds its raw bytes or refers to a checked range of a part.
        folder: Where parts lie.
        warnings: What a person should know of it.
        notes: Shapes that were noted in each of its graphs, outer before inner; the model is without them.
    """

    model: ModelProto
    folder: Path
    warnings: tuple[str, ...] = ()
    notes: tuple[tuple[ValueInfoProto, ...], ...] = ()

    def raw(self, tensor: TensorProto) -> bytes | memoryview:
        """A tensor's raw little-endian bytes; those of external parts are mapped, not read."""
        if tensor.data_location != EXTERNAL:
            return tensor.raw_data
        import numpy as np

        where = {item.key: item.value for item in tensor.external_data}
        size = int(where["length"])
        if size == 0:
            return b""
        part = np.memmap(
            self.folder / os.fsdecode(where["location"]),
            dtype=np.uint8,
            mode="r",
            offset=int(where["offset"]),
            shape=(size,),
        )
        return part.data

    def array(self, tensor: TensorProto) -> NDArray[Any]:
        """A tensor's values."""
        import numpy as np
        from onnx import helper, numpy_helper

        if tensor.data_location != EXTERNAL:
            return numpy_helper.to_array(tensor)
        kind = helper.tensor_dtype_to_np_dtype(tensor.data_type)
        return np.frombuffer(self.raw(tensor), dtype=kind).reshape(tuple(tensor.dims))


def read_source(path: Path) -> SourceModel:
    """Read a model and bring it into the one form that everything after relies on.

    Noted shapes are set aside, documentation texts and other notes of exporters are dropped, large Constant nodes
    become initializers, typed tensor fields become raw bytes; initializers among the inputs are there as optional
    inputs only.

    Raises:
        ModelSourceError: No ONNX model, a Git LFS pointer, or a part that is missing, outside or too short.
        HostError: The file cannot be read.
    """
    folder = path.parent.resolve()
    model, light = _read(path)
    warnings = settle_inputs(model)
    notes = []
    for _, graph in all_graphs(model.graph):
        notes.append(notes_of(graph))
        _strip(graph)
        for tensor in [*graph.initializer, *_hoist_constants(graph)]:
            _settle(tensor, folder, path, light=light)
        for sparse in graph.sparse_initializer:
            if EXTERNAL in (sparse.values.data_location, sparse.indices.data_location):
                raise bad_reference(f"{path}: the sparse weight {sparse.values.name!r} is external")
        for node in graph.node:
            _take_in_attributes(node, path, light=light)
            refuse_external_attributes(node, path)
    for function in model.functions:
        del function.value_info[:]
        function.ClearField("doc_string")
        for node in function.node:
            _strip_node(node)
            refuse_external_attributes(node, path)
            if any(True for _ in child_graphs(node)):
                refuse_external_in_functions(node, path)
    model.ClearField("doc_string")
    del model.training_info[:]
    validate_source(model, path)
    source = SourceModel(model, folder, warnings, tuple(notes))
    optional = optional_inputs(model)
    for tensor in model.graph.initializer:
        if tensor.name in optional and tensor.data_location == EXTERNAL:
            _take_in(tensor, bytes(source.raw(tensor)))
    return source


def _read(path: Path) -> tuple[ModelProto, bool]:
    """The model, and whether its large weights were left in the file."""
    try:
        facts = path.stat()
        size = facts.st_size
        if not stat.S_ISREG(facts.st_mode):  # reading a pipe or a device may never end
            raise ModelSourceError(f"{path}: is no ONNX model: it is no plain file", code="model_source.not_onnx")
        if size > MAX_MODEL_BYTES:
            raise ModelSourceError(
                f"{path}: has {size} bytes; protobuf reads at most {MAX_MODEL_BYTES}",
                hint="save the model with external data: onnx.save(…, save_as_external_data=True)",
            )
        with path.open("rb") as stream:
            refuse_pointer(stream.read(64), path)
            if size == 0 or path.is_symlink():  # the engine maps weights from plain files only
                stream.seek(0)
                return _parse(stream.read(), path), False
            with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as file, memoryview(file) as view:
                found = skeleton_of(view)
                raw = bytes(view) if found is None else found.message
    except OSError as error:
        raise HostError(f"{path}: cannot be read: {error.strerror}") from error
    return _parse(raw, path), found is not None


def _parse(raw: bytes, path: Path) -> ModelProto:
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    if not raw:
        raise ModelSourceError(
            f"{path}: is no ONNX model: the file is empty",
            hint="export the model again, or fetch the file again",
            code="model_source.not_onnx",
        )
    model = onnx.ModelProto()
    try:
        model.ParseFromString(raw)
    except DecodeError as error:
        raise ModelSourceError(
            f"{path}: is no ONNX model: its bytes are no protobuf message that ONNX knows",
            hint="export the model to ONNX again, or fetch the file again if its download broke off",
            code="model_source.not_onnx",
        ) from error
    if not model.graph.output or not model.opset_import:
        raise ModelSourceError(
            f"{path}: is no ONNX model: it has {len(model.graph.output)} outputs and names "
            f"{len(model.opset_import)} operator sets; at least one of each was expected",
            code="model_source.not_onnx",
        )
    return model


def _strip(graph: GraphProto) -> None:
    del graph.value_info[:]
    graph.ClearField("doc_string")
    del graph.metadata_props[:]
    for node in graph.node:
        _strip_node(node)


def _strip_node(node: NodeProto) -> None:
    node.ClearField("doc_string")
    del node.metadata_props[:]
    for attribute in node.attribute:
        attribute.ClearField("doc_string")


def _take_in(tensor: TensorProto, raw: bytes) -> None:
    """Hold the bytes of a tensor in the graph itself."""
    tensor.ClearField("external_data")
    tensor.ClearField("data_location")
    tensor.raw_data = raw


def _hoist_constants(graph: GraphProto) -> list[TensorProto]:
    """Turn large Constant nodes into initializers; returns those."""
    kept = []
    hoisted = []
    outputs = {value.name for value in graph.output}
    for node in graph.node:
        value = next((a.t for a in node.attribute if a.name == "value" and a.HasField("t")), None)
        if (
            node.op_type != "Constant"
            or node.domain not in ("", "ai.onnx")
            or value is None
            or node.output[0] in outputs
            or not is_storable(value.data_type)
            or (value.data_location != EXTERNAL and tensor_bytes(value.data_type, value.dims) <= HOISTED_CONSTANT_BYTES)
        ):
            kept.append(node)
            continue
        tensor = graph.initializer.add()
        tensor.CopyFrom(value)
        tensor.name = node.output[0]
        hoisted.append(tensor)
    if len(kept) != len(graph.node):
        copies = [type(node).FromString(node.SerializeToString()) for node in kept]
        del graph.node[:]
        graph.node.extend(copies)
    return hoisted


def _settle(tensor: TensorProto, folder: Path, source: Path, *, light: bool) -> None:
    """Give a tensor raw bytes, or a reference whose range is known to exist.

    Args:
        tensor: Changed in place.
        folder: Where external parts lie.
        source: The model file.
        light: Whether weights were left in that file.
    """
    tensor.ClearField("doc_string")
    del tensor.metadata_props[:]
    left = _left_in_file(tensor, source) if light else None
    if left is not None:
        _check_size(tensor, left[1], source)
        refer(tensor, source.name, *left)
        return
    if tensor.data_location == EXTERNAL:
        check_reference(tensor, folder, source)
        return
    if not is_storable(tensor.data_type):
        return
    if not tensor.HasField("raw_data"):
        _make_raw(tensor, source)
    _check_size(tensor, len(tensor.raw_data), source)


def _left_in_file(tensor: TensorProto, source: Path) -> tuple[int, int] | None:
    """Offset and size of a weight that was left in the model file."""
    where = {item.key: item.value for item in tensor.external_data}
    numbers = [where.get(key, "") for key in ("offset", "length")]
    if tensor.data_location != EXTERNAL or where.get("location") != IN_FILE:
        return None
    if not all(text.isascii() and text.isdigit() and len(text) < 19 for text in numbers):
        return None
    offset, size = map(int, numbers)
    if offset + size > source.stat().st_size:  # a file that says so of itself
        raise bad_reference(f"{source}: the weight {tensor.name!r} is said to lie beyond the end of the file")
    return offset, size


def _take_in_attributes(node: NodeProto, source: Path, *, light: bool) -> None:
    """Give attributes that stay in the graph the bytes that were left in the file."""
    for attribute in node.attribute:
        left = _left_in_file(attribute.t, source) if light and attribute.HasField("t") else None
        if left is not None:
            with source.open("rb") as stream:
                stream.seek(left[0])
                _take_in(attribute.t, stream.read(left[1]))


def _check_size(tensor: TensorProto, found: int, source: Path) -> None:
    expected = tensor_bytes(tensor.data_type, tensor.dims) if is_storable(tensor.data_type) else None
    if found != expected:
        raise ModelSourceError(
            f"{source}: the weight {tensor.name!r} has {found} bytes, expected {expected} for "
            f"shape {list(tensor.dims)}",
            code="model_source.bad_tensor",
        )


def _make_raw(tensor: TensorProto, source: Path) -> None:
    from onnx import numpy_helper

    try:
        raw = numpy_helper.from_array(numpy_helper.to_array(tensor)).raw_data
    except (ValueError, TypeError, KeyError) as error:
        raise ModelSourceError(
            f"{source}: the weight {tensor.name!r} does not fit its shape {list(tensor.dims)}: {error}",
            code="model_source.bad_tensor",
        ) from error
    for field in ("float_data", "int32_data", "int64_data", "double_data", "uint64_data"):
        tensor.ClearField(field)
    tensor.raw_data = raw
