"""The one legal encoding of each Zip64 record: every byte follows from name, size, CRC and offset.

A reader builds the record that must stand there and compares bytes, so nothing can hide in a field, in padding or
between records. All integers are little endian (docs/reference/format.md).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

ALIGNMENT = 4096
"""Every payload begins at a multiple of this, so that file systems can clone it and engines can map it."""

LOCAL_FIXED_BYTES = 30
DIRECTORY_FIXED_BYTES = 46
DIRECTORY_EXTRA_BYTES = 28
END_BYTES = 56 + 20 + 22
CRC_POSITION = 14
"""Of the CRC within a local header."""

_LOCAL = struct.Struct("<IHHHHHIIIHH")
_DIRECTORY = struct.Struct("<IHHHHHHIIIHHHHHII")
_LOCAL_SIZES, _DIRECTORY_SIZES = struct.Struct("<HHQQ"), struct.Struct("<HHQQQ")
_END64 = struct.Struct("<IQHHIIQQQQ")
_LOCATOR = struct.Struct("<IIQI")
_END = struct.Struct("<IHHHHIIH")

_NEEDED, _MADE_BY = 45, 0x032D  # Zip64 · Unix, 4.5
_UTF8_FLAG, _STORED, _TIME, _DATE = 0x0800, 0, 0, 0x0021  # 1980-01-01 00:00
_PERMISSIONS = 0o100644 << 16
_IN_EXTRA, _IN_EXTRA16 = 0xFFFFFFFF, 0xFFFF
_ZIP64_ID, _PADDING_ID = 1, 0xA11E
_FIELD_HEAD_BYTES, _SIZES_BYTES = 4, 20


@dataclass(frozen=True, slots=True)
class EntryRecord:
    """One entry as the directory has it.

    Attributes:
        offset: Where its local header begins.
        gap_bytes: Length of the padding field that brings the payload to a multiple of 4096.
        payload_offset: Where its bytes begin.
    """

    name: str
    size_bytes: int
    crc32: int
    offset: int
    gap_bytes: int = field(init=False, compare=False, repr=False)
    payload_offset: int = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        name_bytes = len(self.name if self.name.isascii() else self.name.encode())
        unpadded = self.offset + LOCAL_FIXED_BYTES + name_bytes + _SIZES_BYTES
        gap = -unpadded % ALIGNMENT
        gap = gap + ALIGNMENT if 0 < gap < _FIELD_HEAD_BYTES else gap
        object.__setattr__(self, "gap_bytes", gap)
        object.__setattr__(self, "payload_offset", unpadded + gap)

    @property
    def end(self) -> int:
        return self.payload_offset + self.size_bytes


def local_header(record: EntryRecord) -> bytes:
    """The header before a payload: fixed part, name, Zip64 sizes, zeros up to the next multiple of 4096."""
    name = record.name.encode()
    sizes = _LOCAL_SIZES.pack(_ZIP64_ID, 16, record.size_bytes, record.size_bytes)
    gap = record.gap_bytes
    zeros = gap - _FIELD_HEAD_BYTES
    padding = struct.pack("<HH", _PADDING_ID, zeros) + bytes(zeros) if gap else b""
    fixed = _LOCAL.pack(
        0x04034B50, _NEEDED, _UTF8_FLAG, _STORED, _TIME, _DATE, record.crc32, _IN_EXTRA, _IN_EXTRA,
        len(name), len(sizes) + len(padding),
    )  # fmt: skip
    return fixed + name + sizes + padding


def read_local_header(raw: bytes, offset: int) -> EntryRecord | None:
    """The entry that the local header in ``raw``, found at ``offset``, claims to be of; None where none fits there."""
    if len(raw) < _LOCAL.size:
        return None
    fixed = _LOCAL.unpack_from(raw)
    name_end = _LOCAL.size + fixed[9]
    if len(raw) < name_end + _SIZES_BYTES:
        return None
    try:
        name = raw[_LOCAL.size : name_end].decode()
    except UnicodeDecodeError:
        return None
    (size_bytes,) = struct.unpack_from("<Q", raw, name_end + _FIELD_HEAD_BYTES)
    return EntryRecord(name, size_bytes, fixed[6], offset)


def directory_record(record: EntryRecord) -> bytes:
    name = record.name.encode()
    extra = _DIRECTORY_SIZES.pack(_ZIP64_ID, 24, record.size_bytes, record.size_bytes, record.offset)
    fixed = _DIRECTORY.pack(
        0x02014B50, _MADE_BY, _NEEDED, _UTF8_FLAG, _STORED, _TIME, _DATE, record.crc32, _IN_EXTRA, _IN_EXTRA,
        len(name), len(extra), 0, 0, 0, _PERMISSIONS, _IN_EXTRA,
    )  # fmt: skip
    return fixed + name + extra


def end_records(count: int, directory_offset: int, directory_bytes: int) -> bytes:
    """The last 98 bytes: Zip64 end record, its locator, end record."""
    end64 = _END64.pack(
        0x06064B50, 44, _MADE_BY, _NEEDED, 0, 0, count, count, directory_bytes, directory_offset
    )  # fmt: skip
    locator = _LOCATOR.pack(0x07064B50, 0, directory_offset + directory_bytes, 1)
    end = _END.pack(0x06054B50, 0, 0, _IN_EXTRA16, _IN_EXTRA16, _IN_EXTRA, _IN_EXTRA, 0)
    return end64 + locator + end


def directory_of(records: Iterable[EntryRecord]) -> bytes:
    """The records of these entries, one behind the other."""
    return b"".join(directory_record(record) for record in records)


def read_end(raw: bytes) -> tuple[int, int, int]:
    """Count of entries, offset and size of the directory, as the Zip64 end record claims them."""
    fields = _END64.unpack_from(raw)
    return fields[7], fields[9], fields[8]


def read_directory_record(raw: bytes, position: int) -> tuple[EntryRecord, int] | None:
    """The record at ``position`` of the directory and where the next begins; None where none fits there."""
    name_start = position + DIRECTORY_FIXED_BYTES
    if name_start > len(raw):
        return None
    fixed = _DIRECTORY.unpack_from(raw, position)
    name_end = name_start + fixed[10]
    if name_end + DIRECTORY_EXTRA_BYTES > len(raw):
        return None
    try:
        name = raw[name_start:name_end].decode()
    except UnicodeDecodeError:
        return None
    size_bytes, offset = struct.unpack_from("<QQ", raw, name_end + 12)
    return EntryRecord(name, size_bytes, fixed[7], offset), name_end + DIRECTORY_EXTRA_BYTES


def read_directory(raw: bytes, count: int) -> Iterator[EntryRecord]:
    """The first ``count`` records of the directory, fewer where one is cut off or misnamed."""
    position = 0
    for _ in range(count):
        parsed = read_directory_record(raw, position)
        if parsed is None:
            return
        record, position = parsed
        yield record


_LOCAL_FIELDS = (
    (4, "signature"), (6, "version needed"), (8, "flags"), (10, "compression method"), (12, "time"), (14, "date"),
    (18, "CRC"), (22, "compressed size"), (26, "size"), (28, "name length"), (30, "extra length"),
)  # fmt: skip
_DIRECTORY_FIELDS = (
    (4, "signature"), (6, "made-by version"), (8, "version needed"), (10, "flags"), (12, "compression method"),
    (14, "time"), (16, "date"), (20, "CRC"), (24, "compressed size"), (28, "size"), (30, "name length"),
    (32, "extra length"), (34, "comment length"), (36, "disk number"), (38, "internal attributes"),
    (42, "external attributes"), (46, "offset"),
)  # fmt: skip


def local_difference(expected: bytes, found: bytes, name: str) -> str:
    """Which field of a local header is not what it must be."""
    return _difference(expected, found, name, _LOCAL_FIELDS, ((20, "Zip64 sizes"),))


def directory_difference(expected: bytes, found: bytes, name: str) -> str:
    """Which field of a directory record is not what it must be."""
    return _difference(expected, found, name, _DIRECTORY_FIELDS, ((DIRECTORY_EXTRA_BYTES, "Zip64 extra field"),))


def _difference(
    expected: bytes,
    found: bytes,
    name: str,
    fields: tuple[tuple[int, str], ...],
    after_name: tuple[tuple[int, str], ...],
) -> str:
    size = min(len(expected), len(found))
    position = next((i for i in range(size) if expected[i] != found[i]), size)
    name_end = fields[-1][0] + len(name.encode())
    parts = (*fields, (name_end, "name"), *((name_end + length, label) for length, label in after_name))
    return next((label for end, label in parts if position < end), "padding")
