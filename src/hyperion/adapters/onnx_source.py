"""Reading model.onnx as someone else wrote it: external parts inside its directory only, nothing taken on trust."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from hyperion.adapters.onnx_types import is_storable, tensor_bytes
from hyperion.errors import HostError, ModelSourceError
from hyperion.quantization.graph import all_graphs, child_graphs

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto

LFS_POINTER = b"version https://git-lfs.github.com/spec/"
MAX_MODEL_BYTES = 2**31 - 1
"""Protobuf's own limit; larger models keep their weights in external parts."""
HOISTED_CONSTANT_BYTES = 1024
"""Constant nodes above this are weights."""
FIRST_IR_WITH_HIDDEN_WEIGHTS = 4
EXTERNAL = 1
"""TensorProto.DataLocation."""
_EXTERNAL_KEYS = frozenset({"location", "offset", "length", "checksum"})


@dataclass(frozen=True, slots=True)
class SourceModel:
    """A model and the folder of its external parts.

    Attributes:
        model: Weights are initializers; each holds its raw bytes or refers to a checked range of a part.
        folder: Where parts lie.
    """

    model: ModelProto
    folder: Path

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
            self.folder / where["location"], dtype=np.uint8, mode="r", offset=int(where["offset"]), shape=(size,)
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

    Stale shapes, documentation texts and exporters' notes are dropped, large Constant nodes become initializers,
    typed tensor fields become raw bytes.

    Raises:
        ModelSourceError: No ONNX model, a Git LFS pointer, or a part that is missing, outside or too short.
        HostError: The file cannot be read.
    """
    model = _parse(path)
    folder = path.parent
    for _, graph in all_graphs(model.graph):
        _strip(graph)
        _hoist_constants(graph)
        for tensor in graph.initializer:
            _settle(tensor, folder, path)
        for sparse in graph.sparse_initializer:
            if EXTERNAL in (sparse.values.data_location, sparse.indices.data_location):
                raise _bad_reference(f"{path}: the sparse weight {sparse.values.name!r} is external")
        for node in graph.node:
            _refuse_external_attributes(node, path)
    for function in model.functions:
        del function.value_info[:]
        function.doc_string = ""
        for node in function.node:
            _strip_node(node)
            _refuse_external_attributes(node, path)
            if any(True for _ in child_graphs(node)):
                _refuse_external_in_functions(node, path)
    model.doc_string = ""
    del model.training_info[:]
    _drop_listed_weights(model)
    return SourceModel(model, folder)


def _parse(path: Path) -> ModelProto:
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        size = path.stat().st_size
        if size > MAX_MODEL_BYTES:
            raise ModelSourceError(
                f"{path}: has {size} bytes; protobuf reads at most {MAX_MODEL_BYTES}",
                hint="save the model with external data: onnx.save(…, save_as_external_data=True)",
            )
        raw = path.read_bytes()
    except OSError as error:
        raise HostError(f"{path}: cannot be read: {error.strerror}") from error
    refuse_pointer(raw[:64], path)
    model = onnx.ModelProto()
    try:
        model.ParseFromString(raw)
    except DecodeError as error:
        raise ModelSourceError(
            f"{path}: is no ONNX model: its {size} bytes are no protobuf message that ONNX knows",
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


def refuse_pointer(head: bytes, path: Path) -> None:
    """Refuse the small text that Git LFS leaves in place of a file that was not fetched.

    Raises:
        ModelSourceError: Code ``model_source.lfs_pointer``.
    """
    if head.startswith(LFS_POINTER):
        raise ModelSourceError(
            f"{path}: is a Git LFS pointer, not the file itself",
            hint="fetch the real file with `git lfs pull`",
            code="model_source.lfs_pointer",
        )


def _strip(graph: GraphProto) -> None:
    del graph.value_info[:]
    graph.doc_string = ""
    del graph.metadata_props[:]
    for node in graph.node:
        _strip_node(node)


def _strip_node(node: NodeProto) -> None:
    node.doc_string = ""
    del node.metadata_props[:]
    for attribute in node.attribute:
        attribute.doc_string = ""


def _drop_listed_weights(model: ModelProto) -> None:
    """Before IR version 4 every weight also stood among the inputs, without that meaning anything."""
    if model.ir_version >= FIRST_IR_WITH_HIDDEN_WEIGHTS:
        return
    for _, graph in all_graphs(model.graph):
        weights = {tensor.name for tensor in graph.initializer}
        inputs = [type(value).FromString(value.SerializeToString()) for value in graph.input]
        del graph.input[:]
        graph.input.extend(value for value in inputs if value.name not in weights)
    model.ir_version = FIRST_IR_WITH_HIDDEN_WEIGHTS


def _hoist_constants(graph: GraphProto) -> None:
    kept = []
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
    if len(kept) != len(graph.node):
        copies = [type(node).FromString(node.SerializeToString()) for node in kept]
        del graph.node[:]
        graph.node.extend(copies)


def _settle(tensor: TensorProto, folder: Path, source: Path) -> None:
    """Give a tensor raw bytes, or a reference whose range is known to exist."""
    tensor.doc_string = ""
    del tensor.metadata_props[:]
    if tensor.data_location == EXTERNAL:
        _check_reference(tensor, folder, source)
        return
    if not is_storable(tensor.data_type):
        return
    expected = tensor_bytes(tensor.data_type, tensor.dims)
    if not tensor.HasField("raw_data"):
        _make_raw(tensor, source)
    if len(tensor.raw_data) != expected:
        raise ModelSourceError(
            f"{source}: the weight {tensor.name!r} has {len(tensor.raw_data)} bytes, expected {expected} for "
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


def _check_reference(tensor: TensorProto, folder: Path, source: Path) -> None:
    """Demand that an external reference names an exact range of a plain file inside ``folder``."""
    where = {item.key: item.value for item in tensor.external_data}
    name = f"{source}: the weight {tensor.name!r}"
    unknown = set(where) - _EXTERNAL_KEYS
    if unknown or "location" not in where or not is_storable(tensor.data_type):
        raise _bad_reference(f"{name} has a reference to external data that is not understood: {sorted(where)}")
    size = check_part(folder, where["location"], name)
    expected = tensor_bytes(tensor.data_type, tensor.dims)
    offset, length = (_count(where.get(key, default), name) for key, default in (("offset", "0"), ("length", None)))
    if length is None:
        length = expected
    if offset is None or length != expected or offset + length > size:
        raise _bad_reference(
            f"{name} is said to be {length} bytes at offset {offset} of {where['location']!r}, which has {size} bytes; "
            f"its shape {list(tensor.dims)} needs {expected}"
        )
    del tensor.external_data[:]
    for key, value in (("location", where["location"]), ("offset", str(offset)), ("length", str(length))):
        tensor.external_data.add(key=key, value=value)


def _count(text: str | None, name: str) -> int | None:
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise _bad_reference(f"{name} has an offset or length that is no plain number: {text[:40]!r}")
    return int(text)


def check_part(folder: Path, location: str, name: str) -> int:
    """Demand that ``location`` is a plain file inside ``folder``, reached through plain folders; returns its size.

    Raises:
        ModelSourceError: Code ``model_source.external_data``: outside, a link, or missing.
    """
    path = PurePosixPath(location)
    if not location or path.is_absolute() or ".." in path.parts or "\\" in location or "\0" in location:
        raise _bad_reference(f"{name} refers to {location!r}, which is not inside the model's directory")
    current = folder
    for index, part in enumerate(path.parts):
        current = current / part
        try:
            facts = current.lstat()
        except OSError as error:
            raise _bad_reference(
                f"{name} refers to the external part {location!r}, which cannot be read: {error.strerror}",
                hint="put every file that the exporter wrote into the model directory",
            ) from error
        last = index == len(path.parts) - 1
        if stat.S_ISLNK(facts.st_mode):
            raise _bad_reference(f"{name} refers to {location!r}, where {part!r} is a symbolic link")
        if not (stat.S_ISREG(facts.st_mode) if last else stat.S_ISDIR(facts.st_mode)):
            raise _bad_reference(f"{name} refers to {location!r}, which is no plain file")
        if last and facts.st_nlink > 1:
            raise _bad_reference(f"{name} refers to {location!r}, a hard link: the file has {facts.st_nlink} names")
        if last:
            _refuse_part_pointer(current)
            return facts.st_size
    raise _bad_reference(f"{name} refers to {location!r}, which names no file")


def _refuse_part_pointer(path: Path) -> None:
    try:
        with path.open("rb") as stream:
            refuse_pointer(stream.read(64), path)
    except OSError as error:
        raise HostError(f"{path}: cannot be read: {error.strerror}") from error


def _bad_reference(message: str, hint: str | None = None) -> ModelSourceError:
    return ModelSourceError(
        message, hint=hint or "external data must be plain files inside the model directory",
        code="model_source.external_data",
    )  # fmt: skip


def _refuse_external_attributes(node: NodeProto, source: Path) -> None:
    """Small constants and sparse weights stay in the graph, so they cannot lie elsewhere."""
    for attribute in node.attribute:
        tensors = [attribute.t, *attribute.tensors] if attribute.HasField("t") else list(attribute.tensors)
        for sparse in [attribute.sparse_tensor, *attribute.sparse_tensors]:
            tensors += [sparse.values, sparse.indices]
        if any(tensor.data_location == EXTERNAL for tensor in tensors):
            raise _bad_reference(f"{source}: the attribute {attribute.name!r} of node {node.name!r} is external")


def _refuse_external_in_functions(node: NodeProto, source: Path) -> None:
    for _, child in child_graphs(node):
        for _, graph in all_graphs(child):
            for tensor in graph.initializer:
                if tensor.data_location == EXTERNAL:
                    raise _bad_reference(f"{source}: the weight {tensor.name!r} inside a function is external")
