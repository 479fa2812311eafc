"""Reading a model file without its large weights: they stay where they lie, so memory does not grow with the model.

This walks protobuf's wire format to every tensor in a graph, in its nodes' attributes (Constant) and in the graphs in
them (branches, loop bodies), and puts a reference in place of ``raw_data``. Anything it does not expect makes it give
up; the file is then parsed whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

LARGE_BYTES = 64 * 1024
"""Weights from this size on are left in the file."""
IN_FILE = "\0in this file"
"""Location of a reference that was put in place of a weight; no file has such a name."""

_GRAPH = 7
"""Field number of ModelProto (onnx.proto)."""
_RAW_DATA, _EXTERNAL_DATA, _DATA_LOCATION = 9, 13, 14
"""Of TensorProto."""
_EXTERNAL = 1
_INNER: Mapping[str, Mapping[int, str]] = {
    "graph": {1: "node", 5: "tensor"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 11: "graph"},
}
"""Messages in messages, by field number: GraphProto.node and initializer, NodeProto.attribute, AttributeProto.t, g and
graphs."""
_DEEPEST = 100
"""Protobuf itself reads no deeper nesting."""
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


@dataclass(frozen=True, slots=True)
class Skeleton:
    """A model without its large weights.

    Attributes:
        message: The serialized rest; what was left out is external there, at ``IN_FILE`` with offset and length.
        ranges: Offset and size in the file of everything that was left out.
    """

    message: bytes
    ranges: tuple[tuple[int, int], ...]


def skeleton_of(file: memoryview) -> Skeleton | None:
    """The skeleton of a serialized ModelProto; None where it is not plainly one with large weights."""
    ranges: list[tuple[int, int]] = []
    try:
        graphs = [field for field in _fields(file, 0, len(file)) if field.number == _GRAPH]
        if len(graphs) != 1 or graphs[0].wire != _BYTES:
            return None
        graph = _light(file, graphs[0], "graph", ranges, 0)
    except _UnexpectedError:
        return None
    if graph is None:
        return None
    message = bytes(file[: graphs[0].start]) + _framed(_GRAPH, graph) + bytes(file[graphs[0].end :])
    return Skeleton(message, tuple(ranges))


@dataclass(frozen=True, slots=True)
class _Field:
    number: int
    wire: int
    start: int
    """Of its tag."""
    value: int
    """Where its value begins, after tag and length."""
    end: int


class _UnexpectedError(Exception):
    pass


def _light(file: memoryview, message: _Field, kind: str, ranges: list[tuple[int, int]], depth: int) -> bytes | None:
    """A message without the large weights in it; None where it has none."""
    if depth > _DEEPEST:
        raise _UnexpectedError
    parts: list[bytes] = []
    copied = message.value
    for field in _fields(file, message.value, message.end):
        inner = _INNER[kind].get(field.number)
        if inner is None or field.wire != _BYTES or field.end - field.value < LARGE_BYTES:
            continue
        light = (
            _light_tensor(file, field, ranges)
            if inner == "tensor"
            else _light(file, field, inner, ranges, depth + 1)
        )  # fmt: skip
        if light is not None:
            parts += [bytes(file[copied : field.start]), _framed(field.number, light)]
            copied = field.end
    return b"".join([*parts, bytes(file[copied : message.end])]) if parts else None


def _light_tensor(file: memoryview, tensor: _Field, ranges: list[tuple[int, int]]) -> bytes | None:
    fields = list(_fields(file, tensor.value, tensor.end))
    raw = [field for field in fields if field.number == _RAW_DATA]
    if len(raw) != 1 or raw[0].end - raw[0].value < LARGE_BYTES:
        return None
    if any(field.number in (_EXTERNAL_DATA, _DATA_LOCATION) for field in fields):
        return None
    offset, size = raw[0].value, raw[0].end - raw[0].value
    ranges.append((offset, size))
    reference = b"".join(
        _framed(_EXTERNAL_DATA, _framed(1, key.encode()) + _framed(2, value.encode()))
        for key, value in (("location", IN_FILE), ("offset", str(offset)), ("length", str(size)))
    )
    location = _encoded(_DATA_LOCATION << 3 | _VARINT) + _encoded(_EXTERNAL)
    return bytes(file[tensor.value : raw[0].start]) + bytes(file[raw[0].end : tensor.end]) + reference + location


def _fields(file: memoryview, start: int, end: int) -> Iterator[_Field]:
    while start < end:
        tag, value = _varint(file, start, end)
        number, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            _, after = _varint(file, value, end)
        elif wire == _BYTES:
            length, value = _varint(file, value, end)
            after = value + length
        elif wire in (_FIXED32, _FIXED64):
            after = value + (4 if wire == _FIXED32 else 8)
        else:
            raise _UnexpectedError
        if after > end or number == 0:
            raise _UnexpectedError
        yield _Field(number, wire, start, value, after)
        start = after


def _varint(file: memoryview, start: int, end: int) -> tuple[int, int]:
    """A number and the position after it."""
    number = 0
    for index in range(10):
        if start + index >= end:
            break
        byte = file[start + index]
        number |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return number, start + index + 1
    raise _UnexpectedError


def _framed(number: int, message: bytes) -> bytes:
    return _encoded(number << 3 | _BYTES) + _encoded(len(message)) + message


def _encoded(number: int) -> bytes:
    found = bytearray()
    while number >= 0x80:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)
