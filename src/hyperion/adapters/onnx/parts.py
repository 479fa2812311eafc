"""External parts of a model: plain files inside its directory, exact ranges, nothing else."""

from __future__ import annotations

import os
import stat
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from hyperion.adapters.onnx.external_reference import set_reference
from hyperion.adapters.onnx.types import is_storable, tensor_bytes
from hyperion.errors import HostError, ModelSourceError
from hyperion.quantization.graph import all_graphs, child_graphs

if TYPE_CHECKING:
    from onnx import NodeProto, TensorProto

LFS_POINTER = b"version https://git-lfs.github.com/spec/"
EXTERNAL = 1
"""TensorProto.DataLocation."""
_KEYS = frozenset({"location", "offset", "length", "checksum"})


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


def check_reference(tensor: TensorProto, folder: Path, source: Path) -> None:
    """Demand that an external reference names an exact range of a plain file inside ``folder``."""
    where = {item.key: item.value for item in tensor.external_data}
    name = f"{source}: the weight {tensor.name!r}"
    unknown = set(where) - _KEYS
    if unknown or "location" not in where or not is_storable(tensor.data_type):
        raise bad_reference(f"{name} has a reference to external data that is not understood: {sorted(where)}")
    size = check_part(folder, where["location"], name)
    expected = tensor_bytes(tensor.data_type, tensor.dims)
    offset, length = (_count(where.get(key, default), name) for key, default in (("offset", "0"), ("length", None)))
    if length is None:
        length = expected
    if offset is None or length != expected or offset + length > size:
        raise bad_reference(
            f"{name} is said to be {length} bytes at offset {offset} of {where['location']!r}, which has {size} bytes; "
            f"its shape {list(tensor.dims)} needs {expected}"
        )
    refer(tensor, where["location"], offset, length)


def refer(tensor: TensorProto, location: str, offset: int, length: int) -> None:
    """Make a tensor stand for a range of a part; protobuf gives a location that is no UTF-8 back as bytes."""
    tensor.ClearField("raw_data")
    tensor.data_location = EXTERNAL  # type: ignore[assignment]
    set_reference(tensor, os.fsencode(location), offset, length)


def _count(text: str | None, name: str) -> int | None:
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise bad_reference(f"{name} has an offset or length that is no plain number: {text[:40]!r}")
    return int(text)


def check_part(folder: Path, location: str, name: str) -> int:
    """Demand that ``location`` is a plain file inside ``folder``, reached through plain folders; returns its size.

    Raises:
        ModelSourceError: Code ``model_source.external_data``: outside, a link, or missing.
    """
    path = PurePosixPath(location)
    if not location or path.is_absolute() or ".." in path.parts or "\\" in location or "\0" in location:
        raise bad_reference(f"{name} refers to {location!r}, which is not inside the model's directory")
    current = folder
    for index, part in enumerate(path.parts):
        current = current / part
        try:
            facts = current.lstat()
        except OSError as error:
            raise bad_reference(
                f"{name} refers to the external part {location!r}, which cannot be read: {error.strerror}",
                hint="put every file that the exporter wrote into the model directory",
            ) from error
        last = index == len(path.parts) - 1
        if stat.S_ISLNK(facts.st_mode):
            raise bad_reference(f"{name} refers to {location!r}, where {part!r} is a symbolic link")
        if not (stat.S_ISREG(facts.st_mode) if last else stat.S_ISDIR(facts.st_mode)):
            raise bad_reference(f"{name} refers to {location!r}, which is no plain file")
        if last and facts.st_nlink > 1:
            raise bad_reference(f"{name} refers to {location!r}, a hard link: the file has {facts.st_nlink} names")
        if last:
            _refuse_part_pointer(current)
            return facts.st_size
    raise bad_reference(f"{name} refers to {location!r}, which names no file")


def _refuse_part_pointer(path: Path) -> None:
    try:
        with path.open("rb") as stream:
            refuse_pointer(stream.read(64), path)
    except OSError as error:
        raise HostError(f"{path}: cannot be read: {error.strerror}") from error


def bad_reference(message: str, hint: str | None = None) -> ModelSourceError:
    return ModelSourceError(
        message, hint=hint or "external data must be plain files inside the model directory",
        code="model_source.external_data",
    )  # fmt: skip


def refuse_external_attributes(node: NodeProto, source: Path) -> None:
    """Small constants and sparse weights stay in the graph, so they cannot lie elsewhere."""
    for attribute in node.attribute:
        tensors = [attribute.t, *attribute.tensors] if attribute.HasField("t") else list(attribute.tensors)
        for sparse in [attribute.sparse_tensor, *attribute.sparse_tensors]:
            tensors += [sparse.values, sparse.indices]
        if any(tensor.data_location == EXTERNAL for tensor in tensors):
            raise bad_reference(f"{source}: the attribute {attribute.name!r} of node {node.name!r} is external")


def refuse_external_in_functions(node: NodeProto, source: Path) -> None:
    for _, child in child_graphs(node):
        for _, graph in all_graphs(child):
            for tensor in graph.initializer:
                if tensor.data_location == EXTERNAL:
                    raise bad_reference(f"{source}: the weight {tensor.name!r} inside a function is external")
