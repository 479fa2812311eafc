"""Where a tensor's bytes lie, written so that a file's name may hold any bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx import TensorProto

_EXTERNAL_DATA = 13
"""Number of the field of TensorProto (onnx.proto)."""


def set_reference(tensor: TensorProto, location: bytes, offset: int, size_bytes: int) -> None:
    """Have a tensor refer to a range of a file, and to nothing else.

    Args:
        tensor: Changed in place; that its data is external is the caller's to say.
        location: Of the file, as the file system has its name.
        offset: Of the first byte.
        size_bytes: Of the range.
    """
    del tensor.external_data[:]
    for key, value in (("location", location), ("offset", b"%d" % offset), ("length", b"%d" % size_bytes)):
        tensor.MergeFromString(_external_data(key, value))


def _external_data(key: str, value: bytes) -> bytes:
    """One item of ``TensorProto.external_data`` as protobuf writes it.

    A file's name may hold bytes that are not UTF-8, which Python's protobuf takes in no string; the engine, which reads
    proto2, takes the bytes as they are.
    """
    item = b"".join(_field(number, part) for number, part in ((1, key.encode()), (2, value)))
    return _field(_EXTERNAL_DATA, item)


def _field(number: int, data: bytes) -> bytes:
    """A protobuf field of bytes: its tag and their count as varints (protobuf.dev/programming-guides/encoding)."""
    return b"%c%b%b" % (number << 3 | 2, _varint(len(data)), data)


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*encoded, value))
