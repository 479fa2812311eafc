"""Package files whose in-place update stopped halfway: told from damaged ones, and repaired.

Readers never repair. They ask here why a file is refused, and the next one to change it, who holds its lock, repairs.
What counts as an ending is built anew from its parts and compared byte for byte, because sectors reach the disk in any
order: a last sector in place says nothing of those before it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from hyperion.domain.manifest import MANIFEST, SIGNING
from hyperion.errors import PackageError
from hyperion.format.limits import (
    BLOCK_BYTES,
    MAX_DIRECTORY_BYTES,
    MAX_ENTRIES,
    MAX_MANIFEST_BYTES,
    MAX_NAME_BYTES,
    MAX_SIGNING_BYTES,
)
from hyperion.format.manifest_json import read_manifest
from hyperion.format.names import name_fault
from hyperion.format.random_access import RandomAccess
from hyperion.format.update import ChangeableFile, Ending, settle
from hyperion.format.zip_records import (
    ALIGNMENT,
    CRC_POSITION,
    END_BYTES,
    LOCAL_FIXED_BYTES,
    EntryRecord,
    directory_record,
    end_records,
    local_header,
    read_directory_record,
    read_end,
    read_local_header,
)

SECTOR_BYTES = 512
"""What a disk writes whole or not at all."""

_END_SIGNATURE = b"PK\x06\x06"
_LONGEST_ENDING = MAX_SIGNING_BYTES + MAX_MANIFEST_BYTES + MAX_DIRECTORY_BYTES + 4 * ALIGNMENT
_MOST_ENDINGS = 4
"""An update leaves at most three; more are somebody's trick to make readers work."""


@dataclass(frozen=True, slots=True)
class Interrupted:
    """A file whose update stopped halfway, and what it becomes.

    Attributes:
        ahead: The new ending, written ahead whole; None where it did not arrive and the old one stands.
        size_bytes: Of the file once it is repaired.
    """

    ahead: Ending | None
    size_bytes: int


def find_interrupted(file: RandomAccess) -> Interrupted | None:
    """Whether a file that the strict reader refuses is a package between two steps of an update; None where not.

    It takes a walk over the payloads' local headers and a search through what lies behind them; payloads are unread.
    """
    payloads = _payloads(file)
    if not payloads:
        return None
    begin = payloads[-1].end
    if not 0 < file.size - begin <= 3 * _LONGEST_ENDING:
        return None
    for end in islice(_ends(file, begin), _MOST_ENDINGS):
        found = _ending(file, payloads, end)
        if found is None:
            continue
        ending, position = found
        if position == begin and end < file.size and _may_be_torn(file, end):
            return Interrupted(None, end)
        size_bytes = begin + len(ending.data)
        if position >= size_bytes and end == file.size:
            return Interrupted(ending, size_bytes)
    return None


def repair(file: ChangeableFile, found: Interrupted) -> None:
    """Finish the update, or take it back where the new ending never arrived whole; may itself be interrupted.

    Raises:
        OSError: The disk failed; the file can still be repaired.
    """
    if found.ahead is not None:
        settle(file, found.ahead)
    else:
        file.truncate(found.size_bytes)
        file.fsync()


def _payloads(file: RandomAccess) -> list[EntryRecord]:
    """The entries from the first on, as their own local headers have them, up to what is none of a payload."""
    records: list[EntryRecord] = []
    offset = 0
    while len(records) < MAX_ENTRIES:
        raw = file.read_at(offset, LOCAL_FIXED_BYTES + MAX_NAME_BYTES + ALIGNMENT)
        record = read_local_header(raw, offset)
        if record is None or record.name in (SIGNING, MANIFEST) or name_fault(record.name) or record.end > file.size:
            break
        expected = local_header(record)
        if file.read_at(offset, len(expected)) != expected:
            break
        records.append(record)
        offset = record.end
    return records


def _ends(file: RandomAccess, begin: int) -> Iterator[int]:
    """Where, between ``begin`` and the end of the file, sound end records end; the last first."""
    stop = file.size
    while stop > begin:
        start = max(begin, stop - BLOCK_BYTES)
        block = file.read_at(start, stop - start + END_BYTES)
        place = block.rfind(_END_SIGNATURE, 0, stop - start + len(_END_SIGNATURE) - 1)
        while place >= 0:
            end = block[place : place + END_BYTES]
            if len(end) == END_BYTES:
                count, offset, length = read_end(end)
                if offset + length == start + place and end == end_records(count, offset, length):
                    yield start + place + END_BYTES
            place = block.rfind(_END_SIGNATURE, 0, place + len(_END_SIGNATURE) - 1)
        stop = start


def _ending(file: RandomAccess, payloads: list[EntryRecord], end: int) -> tuple[Ending, int] | None:
    """The ending whose end records end at ``end`` and where it begins; None where any byte of it is wrong."""
    own = _own_records(file, payloads, end)
    if own is None:
        return None
    contents: dict[str, bytes] = {}
    for record, limit in zip(reversed(own), (MAX_MANIFEST_BYTES, MAX_SIGNING_BYTES), strict=False):
        if record.size_bytes > limit or record.end > end:
            return None
        contents[record.name] = file.read_at(record.payload_offset, record.size_bytes)
    ending = Ending(payloads, contents[MANIFEST], contents.get(SIGNING))
    data = ending.at(own[0].offset)
    if own[0].offset + len(data) != end or file.read_at(own[0].offset, len(data)) != data:
        return None
    return (ending, own[0].offset) if _lists(ending) else None


def _own_records(file: RandomAccess, payloads: list[EntryRecord], end: int) -> list[EntryRecord] | None:
    """The records of model.sig, where there is one, and manifest.json in a directory of ``payloads`` and these."""
    _, offset, length = read_end(file.read_at(end - END_BYTES, END_BYTES))
    listed = b"".join(map(directory_record, payloads))
    if offset < payloads[-1].end or not len(listed) < length <= MAX_DIRECTORY_BYTES:
        return None
    directory = file.read_at(offset, length)
    if not directory.startswith(listed):
        return None
    own: list[EntryRecord] = []
    position = len(listed)
    while position < len(directory) and len(own) < len((SIGNING, MANIFEST)):
        parsed = read_directory_record(directory, position)
        if parsed is None:
            return None
        record, position = parsed
        own.append(record)
    names = [record.name for record in own]
    return own if names in ([MANIFEST], [SIGNING, MANIFEST]) else None


def _lists(ending: Ending) -> bool:
    """Whether the manifest is one that readers take, of exactly these payloads."""
    try:
        manifest = read_manifest(ending.raw_manifest, MANIFEST)
    except PackageError:
        return False
    return {r.name: r.size_bytes for r in ending.payloads} == {n: e.size_bytes for n, e in manifest.entries.items()}


def _may_be_torn(file: RandomAccess, end: int) -> bool:
    """Whether what follows a whole ending can be what arrived of one that was to be written behind it.

    Where nothing arrived there are zeros. Sectors of its own may hold anything; in the sector that the old ending
    shares, the new one begins with a header.
    """
    shared = file.read_at(end, -end % SECTOR_BYTES)
    begun = shared.lstrip(b"\0")
    if not begun:
        return True
    for name in (SIGNING, MANIFEST):
        header = local_header(EntryRecord(name, 0, 0, end + len(shared) - len(begun)))
        fixed = header[: LOCAL_FIXED_BYTES + len(name)]
        if _without_crc(begun[: len(fixed)]) == _without_crc(fixed[: len(begun)]):
            return True
    return False


def _without_crc(header: bytes) -> bytes:
    return header[:CRC_POSITION] + header[CRC_POSITION + 4 :]
