"""Entries as one string of bytes, so that a fuzzer that knows nothing of packages changes names and payloads."""

from __future__ import annotations

from collections.abc import Iterable

from tests.hostile.forge import Item

_SIZE_BYTES = 3


def encoded(items: Iterable[Item]) -> bytes:
    """Per entry: length of the name (1 byte), name, length of the payload (3 bytes, little endian), payload."""
    return b"".join(
        bytes([len(name.encode())]) + name.encode() + len(data).to_bytes(_SIZE_BYTES, "little") + data
        for name, data in items
    )


def decoded(data: bytes) -> list[Item]:
    """The entries that any bytes stand for; what is cut off at the end is shorter. The inverse of ``encoded``."""
    items: list[Item] = []
    position = 0
    while position < len(data):
        name_end = position + 1 + data[position]
        begin = name_end + _SIZE_BYTES
        end = begin + int.from_bytes(data[name_end:begin], "little")
        items.append((data[position + 1 : name_end].decode("utf-8", "replace"), data[begin:end]))
        position = end
    return items
