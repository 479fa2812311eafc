"""Reading a model file without its large weights: they stay where they lie, so memory does not grow with the model.

This walks protobuf's wire format as far as ``ModelProto.graph.initializer[…].raw_data`` and leaves those bytes out.
Anything it does not expect makes it give up; the file is then parsed whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

LARGE_BYTES = 64 * 1024
"""Weights from this size on are left in the file."""

_GRAPH, _INITIALIZER, _RAW_DATA = 7, 5, 9
"""Field numbers of onnx.proto."""
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


@dataclass(frozen=True, slots=True)
class Skeleton:
    """A model without its large weights.

    Attributes:
        message: The serialized rest.
        ranges: Offset and size in the file of what was left out, by the initializer's position.
    """

    message: bytes
    ranges: dict[int, tuple[int, int]]


def skeleton_of(file: memoryview) -> Skeleton | None:
    """The skeleton of a serialized ModelProto; None where it is not plainly one with large weights."""
    try:
        graphs = [field for field in _fields(file, 0, len(file)) if field.number == _GRAPH]
        if len(graphs) != 1 or graphs[0].wire != _BYTES:
            return None
        ranges: dict[int, tuple[int, int]] = {}
        graph = _light_graph(file, graphs[0], ranges)
    except _UnexpectedError:
        return None
    if not ranges:
        return None
    message = bytes(file[: graphs[0].start]) + _framed(_GRAPH, graph) + bytes(file[graphs[0].end :])
    return Skeleton(message, ranges)


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


def _light_graph(file: memoryview, graph: _Field, ranges: dict[int, tuple[int, int]]) -> bytes:
    parts: list[bytes] = []
    position = 0
    for field in _fields(file, graph.value, graph.end):
        if field.number != _INITIALIZER:
            parts.append(bytes(file[field.start : field.end]))
            continue
        raw = [inner for inner in _fields(file, field.value, field.end) if inner.number == _RAW_DATA]
        if len(raw) == 1 and raw[0].end - raw[0].value >= LARGE_BYTES:
            ranges[position] = raw[0].value, raw[0].end - raw[0].value
            light = bytes(file[field.value : raw[0].start]) + bytes(file[raw[0].end : field.end])
            parts.append(_framed(_INITIALIZER, light))
        else:
            parts.append(bytes(file[field.start : field.end]))
        position += 1
    return b"".join(parts)


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
