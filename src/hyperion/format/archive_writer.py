"""Writing package files: the same entries and manifest give the same bytes, always."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO

from hyperion.domain.digest import digest_of
from hyperion.domain.manifest import MANIFEST, Entry, Manifest
from hyperion.errors import DigestMismatchError, MalformedPackageError
from hyperion.format.block_pump import BlockPump, Progress, crc32
from hyperion.format.content import require_harmless
from hyperion.format.free_space import require_space
from hyperion.format.manifest_json import manifest_bytes, read_manifest
from hyperion.format.names import check_names, in_order
from hyperion.format.package import PackageReader
from hyperion.format.zip_records import CRC_POSITION, EntryRecord, directory_and_end, local_header

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
        entries: All but manifest.json, in any order.
        make_manifest: Given every entry's digest and size by name, gives the manifest, which is written last.
        progress: Told of payload bytes written.

    Raises:
        MalformedPackageError: A name, a content or the manifest is none that a reader would accept.
        HostError: No space (code ``host.no_space``).
    """
    written, records = _write_payloads(stream, list(entries), progress)
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
    written, records = _write_payloads(stream, pending, progress)
    for name, entry in written.items():
        if entry.digest != listed[name].digest:
            raise DigestMismatchError(
                f"{package.source}: the entry {name!r} is damaged or was edited: "
                f"expected {listed[name].digest}, found {entry.digest}",
                hint="fetch or make the package again",
                entry=name,
                expected=listed[name].digest,
                actual=entry.digest,
            )
    write_end(stream, records, package.manifest_bytes)
    return package.digest


def write_end(stream: BinaryIO, records: list[EntryRecord], raw_manifest: bytes) -> None:
    """Write manifest.json, the directory and the end records at the stream's position."""
    offset = records[-1].end if records else 0
    record = EntryRecord(MANIFEST, len(raw_manifest), crc32(raw_manifest), offset)
    stream.write(local_header(record) + raw_manifest + directory_and_end([*records, record]))


def _write_payloads(
    stream: BinaryIO, pending: list[PendingEntry], progress: Progress | None
) -> tuple[dict[str, Entry], list[EntryRecord]]:
    names = [entry.name for entry in pending]
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise MalformedPackageError(f"the entry {twice!r} was given twice", entry=twice, code="package.duplicate_entry")
    check_names([*names, MANIFEST], "the new package")
    _require_room(stream, pending)
    by_name = {entry.name: entry for entry in pending}
    written: dict[str, Entry] = {}
    records: list[EntryRecord] = []
    offset = 0
    with BlockPump() as pump:
        for name in in_order(names):
            record, entry = _write_entry(stream, by_name[name], offset, pump, progress)
            records.append(record)
            written[name] = entry
            offset = record.end
    return written, records


def _write_entry(
    stream: BinaryIO, pending: PendingEntry, offset: int, pump: BlockPump, progress: Progress | None
) -> tuple[EntryRecord, Entry]:
    """Header with a CRC of zero, payload, then the CRC that the payload turned out to have."""
    stream.write(local_header(EntryRecord(pending.name, pending.size_bytes, 0, offset)))
    with pending.open() as source:
        fingerprint = pump.pump(
            source,
            pending.size_bytes,
            pending.name,
            write=stream.write,
            look=partial(require_harmless, pending.name, "the new package"),
            progress=progress,
        )
    record = EntryRecord(pending.name, pending.size_bytes, fingerprint.crc32, offset)
    stream.seek(offset + CRC_POSITION)
    stream.write(fingerprint.crc32.to_bytes(4, "little"))
    stream.seek(0, os.SEEK_END)
    return record, Entry(digest=fingerprint.digest, size_bytes=pending.size_bytes)


def _require_room(stream: BinaryIO, pending: list[PendingEntry]) -> None:
    """Say before an hour of writing that it will not fit."""
    try:
        descriptor = stream.fileno()
    except OSError:  # in memory
        return
    needed = sum(entry.size_bytes + _OVERHEAD_BYTES for entry in pending) + _OVERHEAD_BYTES
    require_space(descriptor, needed, "the package")
