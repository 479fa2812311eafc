"""Proving that entries hold the bytes that the manifest promises, without copying them anywhere.

Entries are proven side by side, each whole, by its own digest. Only an entry that outweighs all others, so that whole
entries could not keep every thread at work, is proven by its chunks: their digests stand in config/chunks.bin, and the
manifest states their root. A package whose digest and chunks contradict each other about such an entry is therefore
found only where its whole digest is computed: with one thread, while it is extracted, and while a store takes it in.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from hyperion.domain.digest import PREFIX
from hyperion.domain.manifest import CHUNKS
from hyperion.errors import PackageError
from hyperion.format.archive import ArchiveReader
from hyperion.format.block_pump import Progress
from hyperion.format.chunk_tree import CHUNK_BYTES, DIGEST_BYTES, chunk_count, list_positions, root_of
from hyperion.format.entry_fault import damaged_entry, wrong_chunks, wrong_crc
from hyperion.format.file_state import FileState
from hyperion.format.package import PackageReader
from hyperion.format.side_by_side import CAN_JOIN_CRC, Piece, PieceRead, SideBySide, join_crc32


@dataclass(frozen=True, slots=True)
class ProvenEntry:
    """An entry that holds what was promised.

    Attributes:
        name: Of the entry.
        digest: What was compared: the entry's digest, or the root of its chunks.
        by_chunks: Which of the two.
        state: Of the file that holds it, the same before and after; None where it changed or is memory.
    """

    name: str
    digest: str
    by_chunks: bool
    state: FileState | None


@dataclass(slots=True)
class Proving:
    """What came of it: every entry is in one of the two."""

    proven: list[ProvenEntry] = field(default_factory=list)
    faults: dict[str, PackageError] = field(default_factory=dict)


def prove_entries(
    package: PackageReader, names: Iterable[str], threads: int = 1, progress: Progress | None = None
) -> Proving:
    """Read entries to their end and compare digest and, in the file form, CRC.

    Args:
        package: What they are entries of.
        names: Which ones.
        threads: How many may read at once.
        progress: Told of the bytes read, by one thread at a time.

    Returns:
        Proven entries and faults, each in the order of ``names``. A fault is a DigestMismatchError, which names the
        damaged chunks where an entry has some, or a MalformedPackageError (``package.crc``, ``package.chunks``,
        ``package.size_mismatch``).

    Raises:
        OSError: The disk fails, or a file is gone.
    """
    names = tuple(names)
    lists = _ChunkLists(package)
    split = _outweighing(package, names, threads) if threads > 1 and lists.readable else set()
    split = {name for name in split if name in lists.positions and (CAN_JOIN_CRC or not _has_crc(package))}
    found = Proving()
    for name in sorted(split):
        fault = lists.fault(name)
        if fault is not None:
            found.faults[name] = fault
    split -= found.faults.keys()
    pieces = _pieces(package, (name for name in names if name not in found.faults), split)
    reader = SideBySide(package, threads, sha256=True, crc=_has_crc(package), progress=progress)
    read = _read_all(reader, pieces, found)
    for name in names:
        if name in found.faults or name not in read:
            continue
        judged = _judge(package, name, read[name], lists, threads, by_chunks=name in split)
        if isinstance(judged, PackageError):
            found.faults[name] = judged
        else:
            found.proven.append(judged)
    found.faults = {name: found.faults[name] for name in names if name in found.faults}
    return found


def check_crcs(package: ArchiveReader, threads: int = 1, progress: Progress | None = None) -> dict[str, PackageError]:
    """Read every entry to its end and compare its CRC alone, which finds accidents, not intent; faults by name.

    Raises:
        OSError: The disk fails.
    """
    names = package.names()
    split = _outweighing(package, names, threads) if threads > 1 and CAN_JOIN_CRC else set()
    found = Proving()
    reader = SideBySide(package, threads, sha256=False, crc=True, progress=progress)
    for name, parts in _read_all(reader, _pieces(package, names, split), found).items():
        fault = _crc_fault(package, name, parts, digest_known=False)
        if fault is not None:
            found.faults[name] = fault
    return {name: found.faults[name] for name in names if name in found.faults}


class _ChunkLists:
    """config/chunks.bin as far as it can be trusted: whole, and each list with the root that the manifest states."""

    def __init__(self, package: PackageReader) -> None:
        self._package = package
        entries = package.manifest.entries
        self.positions = list_positions(entries)
        size = DIGEST_BYTES * sum(chunk_count(entries[name].size_bytes) for name in self.positions)
        stored = entries.get(CHUNKS)
        self._digests: bytes | None = None
        if stored is not None and self.positions and stored.size_bytes == size:
            try:
                self._digests = package.read(CHUNKS)
            except PackageError:
                self._digests = None

    @property
    def readable(self) -> bool:
        return self._digests is not None

    def of(self, name: str) -> bytes | None:
        """The chunk digests of an entry; None where it has none that can be trusted."""
        if self._digests is None or name not in self.positions or self.fault(name) is not None:
            return None
        return self._digests[self.positions[name]]

    def fault(self, name: str) -> PackageError | None:
        tree = self._package.manifest.entries[name].chunks
        found = root_of((self._digests or b"")[self.positions[name]])
        if tree is not None and tree.digest == found:
            return None
        return wrong_chunks(self._package, name, found)


def _has_crc(package: PackageReader) -> bool:
    return isinstance(package, ArchiveReader)


def _outweighing(package: PackageReader, names: Sequence[str], threads: int) -> set[str]:
    """Entries that alone would keep one thread at work for longer than a fair share of all of them."""
    entries = package.manifest.entries
    total = sum(entries[name].size_bytes for name in names)
    return {name for name in names if entries[name].size_bytes * threads > total > CHUNK_BYTES}


def _pieces(package: PackageReader, names: Iterable[str], split: set[str]) -> list[Piece]:
    """What to read, the largest first, so that no thread begins a large one when the others are done."""
    pieces: list[Piece] = []
    for name in names:
        size = package.manifest.entries[name].size_bytes
        step = CHUNK_BYTES if name in split else max(size, 1)
        starts = range(0, max(size, 1), step)
        pieces += [Piece(name, begin, min(step, size - begin), begin + step >= size) for begin in starts]
    return sorted(pieces, key=lambda piece: -piece.size_bytes)


def _read_all(reader: SideBySide, pieces: Sequence[Piece], found: Proving) -> dict[str, list[PieceRead]]:
    """The parts of every entry that could be read, in order; the others are added to the faults."""
    read: defaultdict[str, list[PieceRead]] = defaultdict(list)
    parts, faults = reader.read(pieces)
    for piece, error in faults:
        found.faults.setdefault(piece.entry, error)
    for part in parts:
        if part.piece.entry not in found.faults:
            read[part.piece.entry].append(part)
    for whole in read.values():
        whole.sort(key=lambda part: part.piece.begin)
    return read


def _judge(
    package: PackageReader, name: str, parts: list[PieceRead], lists: _ChunkLists, threads: int, *, by_chunks: bool
) -> ProvenEntry | PackageError:
    entry = package.manifest.entries[name]
    if by_chunks and entry.chunks is not None:
        digests = b"".join(part.sha256 for part in parts)
        expected, actual = entry.chunks.digest, root_of(digests)
    else:
        expected, actual = entry.digest, PREFIX + parts[0].sha256.hex()
    if actual != expected:
        bad = _bad_chunks(digests, lists.of(name)) if by_chunks else _find_bad_chunks(package, name, lists, threads)
        return damaged_entry(package, name, expected, actual, bad)
    crc_fault = _crc_fault(package, name, parts, digest_known=True)
    if crc_fault is not None:
        return crc_fault
    states = {state for part in parts for state in part.states}
    return ProvenEntry(name, expected, by_chunks, states.pop() if len(states) == 1 else None)


def _crc_fault(
    package: PackageReader, name: str, parts: Sequence[PieceRead], *, digest_known: bool
) -> PackageError | None:
    if not isinstance(package, ArchiveReader):
        return None
    stated, found = package.crc32(name), join_crc32(parts) if len(parts) > 1 else parts[0].crc32
    return None if stated == found else wrong_crc(name, package.source, stated, found, digest_known=digest_known)


def _find_bad_chunks(package: PackageReader, name: str, lists: _ChunkLists, threads: int) -> list[int] | None:
    """Read an entry again, chunk by chunk; None where nothing says what its chunks should be."""
    expected = lists.of(name)
    if expected is None:
        return None
    parts, faults = SideBySide(package, threads, sha256=True, crc=False).read(_pieces(package, [name], {name}))
    if faults:
        return None
    parts.sort(key=lambda part: part.piece.begin)
    return _bad_chunks(b"".join(part.sha256 for part in parts), expected)


def _bad_chunks(found: bytes, expected: bytes | None) -> list[int] | None:
    if expected is None:
        return None
    size = DIGEST_BYTES
    return [
        number
        for number in range(len(expected) // size)
        if found[number * size : (number + 1) * size] != expected[number * size : (number + 1) * size]
    ]
