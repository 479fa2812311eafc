"""Proving a package's bytes once: what the record knows is not read again, what is read is remembered.

A package file is one file with one proof, under the package's digest. In a directory and in the store every entry is a
file of its own, proven under the entry's digest or the root of its chunks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from hyperion.errors import PackageError
from hyperion.format.archive import ArchiveReader
from hyperion.format.file_state import FileState, state_of
from hyperion.format.package import PackageReader
from hyperion.format.proving import Proving, prove_entries
from hyperion.ports import Clock, ProofRecord


@dataclass(frozen=True, slots=True)
class PackageProof:
    """How every entry of a package was proven, or why it was not.

    Attributes:
        faults: By entry, in the order of the entries.
        read: How many entries were read and digested now.
        by_chunks: Those of them that were proven by their chunks instead of their own digest.
        recalled: How many were proven before and unchanged since.
        proven_at: When the oldest of those was proven.
    """

    faults: Mapping[str, PackageError]
    read: int
    by_chunks: tuple[str, ...]
    recalled: int
    proven_at: datetime | None

    def require(self) -> None:
        """Raise the first fault, where there is one."""
        for fault in self.faults.values():
            raise fault

    def describe(self) -> str:
        """How it was proven, for people."""
        told = []
        if self.recalled and self.proven_at is not None:
            told.append(f"{self.recalled} proven {self.proven_at:%Y-%m-%d %H:%M} UTC and unchanged since")
        if self.read:
            by_chunks = f", {', '.join(self.by_chunks)} by chunks" if self.by_chunks else ""
            told.append(f"{self.read} read now{by_chunks}")
        return "; ".join(told)


def prove_package(
    package: PackageReader,
    record: ProofRecord,
    clock: Clock,
    *,
    recall: bool,
    threads: int,
    progress: Callable[[int], None] | None = None,
) -> PackageProof:
    """Prove that every entry holds the bytes that the manifest promises.

    Args:
        package: What to prove.
        record: What was proven before; asked where ``recall`` is true, told in any case.
        clock: Dates the proof.
        recall: Whether to believe the record. Where it knows an entry, nothing of it is read.
        threads: How many may read at once.
        progress: Told of the bytes that are proven.

    Raises:
        OSError: The disk fails, or a file is gone.
    """
    began_at = clock.now()
    known = _recalled(package, record) if recall else {}
    sizes = {name: entry.size_bytes for name, entry in package.manifest.entries.items()}
    if progress is not None and known:
        progress(sum(sizes[name] for name in known))
    found = prove_entries(package, (name for name in package.names() if name not in known), threads, progress)
    record.remember(_memories(package, found), began_at)
    return PackageProof(
        faults=found.faults,
        read=len(found.proven) + len(found.faults),
        by_chunks=tuple(entry.name for entry in found.proven if entry.by_chunks),
        recalled=len(known),
        proven_at=min(known.values(), default=None),
    )


def _recalled(package: PackageReader, record: ProofRecord) -> dict[str, datetime]:
    """The entries that need no reading, each with the time of its proof."""
    names = package.names()
    if isinstance(package, ArchiveReader):
        state = _state(package, names[0])
        found = {} if state is None else record.recall([(state, package.digest)])
        return {name: at for at in found.values() for name in names}
    wanted: list[tuple[str, tuple[FileState, str]]] = []
    for name in names:
        state, entry = _state(package, name), package.manifest.entries[name]
        if state is None:
            continue
        wanted.append((name, (state, entry.digest)))
        if entry.chunks is not None:
            wanted.append((name, (state, entry.chunks.digest)))
    found = record.recall(key for _, key in wanted)
    return {name: found[key] for name, key in wanted if key in found}


def _state(package: PackageReader, name: str) -> FileState | None:
    with package.open(name) as stream:
        return state_of(stream)


def _memories(package: PackageReader, found: Proving) -> list[tuple[FileState, str]]:
    """What may be remembered: nothing of files that changed while they were read."""
    if not isinstance(package, ArchiveReader):
        return [(entry.state, entry.digest) for entry in found.proven if entry.state is not None]
    states = {entry.state for entry in found.proven}
    if found.faults or len(states) != 1 or len(found.proven) < len(package.names()):
        return []
    return [(state, package.digest) for state in states if state is not None]
