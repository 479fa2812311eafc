"""Writing package files: the same entries and manifest give the same bytes, always."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from io import BytesIO
from typing import BinaryIO

from hyperion.domain.digest import digest_of
from hyperion.domain.manifest import CHUNKS, MANIFEST, SIGNING, ChunkTree, Entry, Manifest
from hyperion.errors import MalformedPackageError
from hyperion.format.block_pump import BlockPump, Progress, crc32
from hyperion.format.chunk_tree import is_chunked, list_positions, root_of
from hyperion.format.content import require_harmless
from hyperion.format.entry_fault import damaged_entry
from hyperion.format.free_space import require_space
from hyperion.format.manifest_json import manifest_bytes, read_manifest
from hyperion.format.names import check_names, in_order
from hyperion.format.package import PackageReader
from hyperion.format.zip_records import (
    CRC_POSITION,
    EntryRecord,
    directory_of,
    directory_record,
    end_records,
    local_header,
)

_OVERHEAD_BYTES = 8192
"""At most what header, padding, and directory record of one entry take."""


@dataclass(frozen=True, slots=True)
class PendingEntry:
    """An entry that is to be written.

    Attributes:
        name: Its path in the package.
        size_bytes: Exactly what ``open`` gives.
        open: A fresh stream of its bytes; called once, closed by the writer.
    """

    name: str
    size_bytes: int
    open: Callable[[], BinaryIO]


def write_archive(
    stream: BinaryIO,
    entries: Iterable[PendingEntry],
    make_manifest: Callable[[dict[str, Entry]], Manifest],
    progress: Progress | None = None,
) -> str:
    """Write a package; returns its digest.

    Args:
        stream: Empty, writable and seekable.
        entries: All but manifest.json and config/chunks.bin, which are made here, in any order.
        make_manifest: Given every entry's digest and size by name, gives the manifest, which is written last.
        progress: Told of payload bytes written.

    Raises:
        MalformedPackageError: A name, a content or the manifest is none that a reader would accept.
        HostError: No space (code ``host.no_space``).
    """
    written, records = _Payloads(stream, progress).write_new(list(entries))
    manifest = make_manifest(written)
    raw = manifest_bytes(manifest)
    if read_manifest(raw, "the new package").entries != written:
        raise MalformedPackageError(
            "the new manifest lists other entries than were written", entry=MANIFEST, code="package.manifest"
        )
    write_end(stream, records, raw)
    return digest_of(raw)


def repack(stream: BinaryIO, package: PackageReader, progress: Progress | None = None) -> str:
    """Write any form of a package as one file, verifying every digest; returns the digest.

    Law: the file is bit-identical to the one that the package was first written as.

    Raises:
        DigestMismatchError: An entry is not what the manifest says.
        HostError: No space (code ``host.no_space``).
    """
    listed = package.manifest.entries
    pending = [PendingEntry(name, listed[name].size_bytes, partial(package.open, name)) for name in package.names()]
    written, records = _Payloads(stream, progress).write(pending)
    for name, entry in written.items():
        if entry.digest != listed[name].digest:
            raise damaged_entry(package, name, listed[name].digest, entry.digest)
    write_end(stream, records, package.manifest_bytes, package.signing)
    return package.digest


def write_end(stream: BinaryIO, records: list[EntryRecord], raw_manifest: bytes, signing: bytes | None = None) -> None:
    """Write all that follows the listed entries' payloads, at the stream's position."""
    stream.write(end_of_package(records, raw_manifest, signing))


def end_of_package(
    records: Sequence[EntryRecord],
    raw_manifest: bytes,
    signing: bytes | None = None,
    *,
    begin: int | None = None,
    directory: bytes | None = None,
) -> bytes:
    """model.sig where the package is signed, manifest.json, the directory and the end records.

    Args:
        records: Every entry that the manifest lists, in order.
        raw_manifest: Canonical bytes of the manifest.
        signing: What model.sig is to hold.
        begin: Where in the file it is to stand; by default where the last of ``records`` ends.
        directory: What ``directory_of(records)`` gives, for a caller that has it.
    """
    directory = directory_of(records) if directory is None else directory
    count, made = len(records), b""
    position = begin if begin is not None else records[-1].end if records else 0
    for name, data in ((SIGNING, signing), (MANIFEST, raw_manifest)):
        if data is not None:
            record = EntryRecord(name, len(data), crc32(data), position)
            made += local_header(record) + data
            directory += directory_record(record)
            count, position = count + 1, record.end
    return made + directory + end_records(count, position, len(directory))


class _Payloads:
    """The listed entries of one package file on their way into it.

    Args:
        stream: Empty, writable and seekable.
        progress: Told of payload bytes written.
    """

    def __init__(self, stream: BinaryIO, progress: Progress | None) -> None:
        self._stream = stream
        self._progress = progress
        self._records: dict[str, EntryRecord] = {}
        self._written: dict[str, Entry] = {}
        self._chunk_digests: dict[str, bytes] = {}

    def write_new(self, pending: list[PendingEntry]) -> tuple[dict[str, Entry], list[EntryRecord]]:
        """Write these entries and their chunk digests, which get their place first and their bytes last."""
        made = next((entry.name for entry in pending if entry.name in (CHUNKS, SIGNING)), None)
        if made is not None:
            raise MalformedPackageError(
                f"{made} is made by the packager; it cannot be given", entry=made, code="package.unsafe_name"
            )
        positions = list_positions({entry.name: entry.size_bytes for entry in pending})
        if not positions:
            return self.write(pending)
        size_bytes = max(position.stop for position in positions.values())
        self._write_all([*pending, PendingEntry(CHUNKS, size_bytes, lambda: BytesIO(bytes(size_bytes)))], chunked=True)
        self._write_chunks(b"".join(self._chunk_digests[name] for name in positions))
        return self._written, list(self._records.values())

    def write(self, pending: list[PendingEntry]) -> tuple[dict[str, Entry], list[EntryRecord]]:
        """Write these entries as they are."""
        self._write_all(pending, chunked=False)
        return self._written, list(self._records.values())

    def _write_all(self, pending: list[PendingEntry], *, chunked: bool) -> None:
        names = [entry.name for entry in pending]
        if len(set(names)) != len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise MalformedPackageError(
                f"the entry {twice!r} was given twice", entry=twice, code="package.duplicate_entry"
            )
        check_names([*names, MANIFEST], "the new package")
        _require_room(self._stream, pending)
        by_name = {entry.name: entry for entry in pending}
        offset = 0
        with BlockPump() as pump:
            for name in in_order(names):
                offset = self._write_entry(by_name[name], offset, pump, chunked=chunked)

    def _write_entry(self, pending: PendingEntry, offset: int, pump: BlockPump, *, chunked: bool) -> int:
        """Header with a CRC of zero, payload, then the CRC that the payload turned out to have; returns the end."""
        name, size_bytes = pending.name, pending.size_bytes
        chunked = chunked and is_chunked(name, size_bytes)
        self._stream.write(local_header(EntryRecord(name, size_bytes, 0, offset)))
        with pending.open() as source:
            found = pump.pump(
                source,
                size_bytes,
                name,
                write=self._stream.write,
                look=None if name == CHUNKS else partial(require_harmless, name, "the new package"),
                progress=self._progress,
                chunked=chunked,
            )
        self._records[name] = EntryRecord(name, size_bytes, found.crc32, offset)
        self._patch(offset + CRC_POSITION, found.crc32.to_bytes(4, "little"))
        tree = None
        if chunked:
            self._chunk_digests[name] = found.chunk_digests
            tree = ChunkTree(digest=root_of(found.chunk_digests))
        self._written[name] = Entry(digest=found.digest, size_bytes=size_bytes, chunks=tree)
        return self._records[name].end

    def _write_chunks(self, digests: bytes) -> None:
        """Put the chunk digests where their place was kept."""
        record = replace(self._records[CHUNKS], crc32=crc32(digests))
        self._patch(record.offset + CRC_POSITION, record.crc32.to_bytes(4, "little"))
        self._patch(record.payload_offset, digests)
        self._records[CHUNKS] = record
        self._written[CHUNKS] = Entry(digest=digest_of(digests), size_bytes=len(digests))

    def _patch(self, offset: int, data: bytes) -> None:
        self._stream.seek(offset)
        self._stream.write(data)
        self._stream.seek(0, os.SEEK_END)


def _require_room(stream: BinaryIO, pending: list[PendingEntry]) -> None:
    """Say before an hour of writing that it will not fit."""
    try:
        descriptor = stream.fileno()
    except OSError:  # in memory
        return
    needed = sum(entry.size_bytes + _OVERHEAD_BYTES for entry in pending) + _OVERHEAD_BYTES
    require_space(descriptor, needed, "the package")
