"""The package as one file: a strict Zip64 reader, and (from archive_writer) its writer.

The layout is ``ENTRY* DIRECTORY ZIP64_END LOCATOR END`` and nothing else. The reader trusts no field: it reads names,
sizes, CRCs and offsets from the directory, builds every record anew from them, and compares bytes; which of them is
odd, ``layout_fault`` tells.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import BinaryIO, cast

from hyperion.domain.manifest import MANIFEST, SIGNING
from hyperion.errors import MalformedPackageError
from hyperion.format.archive_writer import PendingEntry, repack, write_archive
from hyperion.format.block_pump import crc32
from hyperion.format.end_fault import end_fault
from hyperion.format.layout_fault import layout_fault
from hyperion.format.limits import (
    MAX_DIRECTORY_BYTES,
    MAX_ENTRIES,
    MAX_MANIFEST_BYTES,
    MAX_NAME_BYTES,
    MAX_SIGNING_BYTES,
)
from hyperion.format.manifest_json import read_manifest
from hyperion.format.names import check_names, in_order
from hyperion.format.opened import OpenedPackage
from hyperion.format.package import EntryLocation
from hyperion.format.random_access import RandomAccess, Window
from hyperion.format.zip_records import (
    DIRECTORY_EXTRA_BYTES,
    DIRECTORY_FIXED_BYTES,
    END_BYTES,
    EntryRecord,
    directory_of,
    end_records,
    local_header,
    read_directory,
    read_end,
)

__all__ = ["ArchiveReader", "PendingEntry", "repack", "write_archive"]

_AGAIN = "fetch or make the package again"
_LONGEST_RECORD = DIRECTORY_FIXED_BYTES + MAX_NAME_BYTES + DIRECTORY_EXTRA_BYTES


class ArchiveReader(OpenedPackage):
    """An opened package file.

    Args:
        stream: The file, readable and seekable; the reader owns it from now on and closes it.
        source: The path as the user named it, for messages.
        path: Where the file lies, for mapping entries in place.

    Raises:
        MalformedPackageError: The file breaks the format in any way.
        UnknownFormatVersionError: Another version of the format wrote it.
    """

    def __init__(self, stream: BinaryIO, source: str, path: Path) -> None:
        self._file = RandomAccess(stream)
        self._path = path
        try:
            self._records = self._read_layout(source)
            raw = self._read_whole(MANIFEST, MAX_MANIFEST_BYTES, source)
            signing = self._read_whole(SIGNING, MAX_SIGNING_BYTES, source) if SIGNING in self._records else None
            super().__init__(source, read_manifest(raw, source, self._records), raw, signing)
            self._check_entries()
        except BaseException:
            stream.close()
            raise

    @property
    def path(self) -> Path:
        """Where the file lies."""
        return self._path

    @property
    def signing_offset(self) -> int:
        """Where the local header of model.sig begins, or would: what lies before is the same in every version."""
        return self._records[SIGNING if SIGNING in self._records else MANIFEST].offset

    def records(self) -> tuple[EntryRecord, ...]:
        """Every entry but manifest.json, as the directory has it."""
        return tuple(record for name, record in self._records.items() if name != MANIFEST)

    def crc32(self, name: str) -> int:
        """The CRC that the archive states for an entry; other zip tools check it."""
        self.entry(name)
        return self._records[name].crc32

    def locate(self, name: str) -> EntryLocation:
        entry = self.entry(name)
        return EntryLocation(self._path, self._records[name].payload_offset, entry.size_bytes)

    def open(self, name: str) -> BinaryIO:
        location = self.locate(name)
        if self._file.closed:
            raise ValueError(f"{self.source}: the package is closed")
        return cast("BinaryIO", Window(self._file, location.offset, location.size_bytes))

    def close(self) -> None:
        self._file.close()

    def _read_layout(self, source: str) -> dict[str, EntryRecord]:
        directory_offset, directory, count = self._read_directory(source)
        records = {record.name: record for record in read_directory(directory, count)}
        if len(records) != count or not self._is_as_written(records.values(), directory, directory_offset):
            raise layout_fault(self._file, directory, count, directory_offset, source)
        check_names(records, source)
        for name, expected_name in zip(records, in_order(records), strict=True):
            if name != expected_name:
                raise MalformedPackageError(
                    f"{source}: the entry {name!r} stands where {expected_name!r} should: "
                    f"entries are sorted by name, with {SIGNING} and {MANIFEST} last",
                    hint=_AGAIN,
                    entry=name,
                    code="package.order",
                )
        return records

    def _is_as_written(self, records: Collection[EntryRecord], directory: bytes, directory_offset: int) -> bool:
        """Whether directory and local headers are what follows from these records, byte for byte, without a gap."""
        if directory_of(records) != directory:
            return False
        offset = 0
        for record in records:
            if record.offset != offset or record.end > directory_offset:
                return False
            header = local_header(record)
            if self._file.read_at(offset, len(header)) != header:
                return False
            offset = record.end
        return offset == directory_offset

    def _read_directory(self, source: str) -> tuple[int, bytes, int]:
        size = self._file.size
        if size < END_BYTES:
            raise MalformedPackageError(
                f"{source}: {size} bytes are too few for a package",
                hint=_AGAIN,
                code="package.truncated",
            )
        end = self._file.read_at(size - END_BYTES, END_BYTES)
        count, offset, length = read_end(end)
        if offset + length + END_BYTES != size or end != end_records(count, offset, length):
            raise end_fault(self._file, source)
        if not 0 < count <= MAX_ENTRIES or length > min(MAX_DIRECTORY_BYTES, count * _LONGEST_RECORD):
            raise MalformedPackageError(
                f"{source}: claims {count} entries in a directory of {length} bytes",
                hint=_AGAIN,
                code="package.too_large",
            )
        return offset, self._file.read_at(offset, length), count

    def _read_whole(self, name: str, limit: int, source: str) -> bytes:
        """The bytes of an entry that the manifest does not list, checked against their CRC."""
        record = self._records.get(name)
        if record is None:
            raise MalformedPackageError(
                f"{source}: has no {name}",
                hint=_AGAIN,
                entry=name,
                code="package.missing_entry",
            )
        if record.size_bytes > limit:
            raise MalformedPackageError(
                f"{source}: {name} has {record.size_bytes} bytes; at most {limit} are read",
                hint=_AGAIN,
                entry=name,
                code="package.too_large",
            )
        raw = self._file.read_at(record.payload_offset, record.size_bytes)
        if crc32(raw) != record.crc32:
            raise MalformedPackageError(
                f"{source}: {name} is damaged: its CRC is wrong",
                hint=_AGAIN,
                entry=name,
                code="package.crc",
            )
        return raw

    def _check_entries(self) -> None:
        """Demand that archive and manifest name the same entries with the same sizes."""
        source, listed = self.source, self.manifest.entries
        for name, record in self._records.items():
            if name in (MANIFEST, SIGNING):
                continue
            if name not in listed:
                raise MalformedPackageError(
                    f"{source}: the entry {name!r} is not listed in {MANIFEST}",
                    hint=_AGAIN,
                    entry=name,
                    code="package.unlisted_entry",
                )
            if listed[name].size_bytes != record.size_bytes:
                raise MalformedPackageError(
                    f"{source}: the entry {name!r} has {record.size_bytes} bytes, "
                    f"{MANIFEST} says {listed[name].size_bytes}",
                    hint=_AGAIN,
                    entry=name,
                    code="package.size_mismatch",
                )
        for name in listed:
            if name not in self._records:
                raise MalformedPackageError(
                    f"{source}: the entry {name!r} of {MANIFEST} is missing",
                    hint=_AGAIN,
                    entry=name,
                    code="package.missing_entry",
                )
