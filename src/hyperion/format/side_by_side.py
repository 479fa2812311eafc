"""Reading parts of entries in several threads, for their fingerprints alone.

Every thread reads into one small buffer of its own, again and again: a block is still in the processor's cache when it
is digested, so that its CRC costs next to nothing beside sha256, and nothing is handed from thread to thread. Reading
and both digests release the interpreter lock.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from io import RawIOBase
from typing import cast

from hyperion.errors import MalformedPackageError, PackageError
from hyperion.format.block_pump import Progress, crc32
from hyperion.format.file_state import FileState, state_of
from hyperion.format.package import PackageReader

try:
    from isal.isal_zlib import crc32_combine
except ImportError:  # no wheel for this processor; the standard library cannot join CRCs
    crc32_combine = None  # type: ignore[assignment]

CAN_JOIN_CRC = crc32_combine is not None
"""Whether the CRC of an entry can be had from those of its parts."""

BLOCK_BYTES = 256 * 1024
"""Fits the second-level cache; measured as quick as 1 MiB, and quicker than 64 KiB."""
_TOLD_BYTES = 4 * 1024 * 1024
"""Progress is told in steps of this: drawing a bar costs more than reading a block."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of an entry that one thread reads.

    Attributes:
        entry: Name of the entry.
        begin: Where the part begins in it.
        size_bytes: Its length.
        is_last: Whether the entry ends with it.
    """

    entry: str
    begin: int
    size_bytes: int
    is_last: bool


@dataclass(frozen=True, slots=True)
class PieceRead:
    """What was found of a piece.

    Attributes:
        piece: Which one.
        sha256: Digest of its bytes, 32 bytes; empty where it was not wanted.
        crc32: Of its bytes; 0 where it was not wanted.
        states: Of the file that held it, before and after it was read.
    """

    piece: Piece
    sha256: bytes
    crc32: int
    states: tuple[FileState | None, FileState | None]


def available_cores() -> int:
    """How many threads this process may have at work at once."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        return os.cpu_count() or 1


def join_crc32(parts: Sequence[PieceRead]) -> int:
    """The CRC of an entry from those of its parts, in order; only where ``CAN_JOIN_CRC``."""
    found = 0
    for part in parts:
        found = crc32_combine(found, part.crc32, part.piece.size_bytes)
    return found


class SideBySide:
    """Reads pieces of a package in threads.

    Args:
        package: What to read.
        threads: How many; one needs no thread but the caller's.
        sha256: Whether digests are wanted.
        crc: Whether CRCs are.
        progress: Told of the bytes read, by one thread at a time.
    """

    def __init__(
        self, package: PackageReader, threads: int, *, sha256: bool, crc: bool, progress: Progress | None = None
    ) -> None:
        self._package, self._threads = package, threads
        self._sha256, self._crc = sha256, crc
        self._progress = progress
        self._stopped = False
        self._lock = threading.Lock()

    def read(self, pieces: Sequence[Piece]) -> tuple[list[PieceRead], list[tuple[Piece, PackageError]]]:
        """Read all pieces, the first ones first; returns what was found, and what could not be read as promised.

        Raises:
            OSError: The disk fails, or a file is gone.
        """
        waiting = deque(pieces)
        found: list[PieceRead] = []
        faults: list[tuple[Piece, PackageError]] = []

        def work() -> None:
            buffer = memoryview(bytearray(min(BLOCK_BYTES, max((piece.size_bytes for piece in pieces), default=0))))
            teller = _Teller(self._progress, self._lock)
            while not self._stopped:
                try:
                    piece = waiting.popleft()
                except IndexError:
                    break
                try:
                    found.append(self._read_piece(piece, buffer, teller.tell))
                except PackageError as error:
                    faults.append((piece, error))
            teller.flush()

        count = min(self._threads, len(pieces))
        if count <= 1:
            work()
            return found, faults
        with ThreadPoolExecutor(count, thread_name_prefix="prove") as pool:
            workers = [pool.submit(work) for _ in range(count)]
            try:
                wait(workers, return_when=FIRST_EXCEPTION)
            finally:  # where one failed, or Ctrl-C was hit, the others end at their next block
                self._stopped = True
        for worker in workers:
            worker.result()
        return found, faults

    def _read_piece(self, piece: Piece, buffer: memoryview, tell: Callable[[int], None]) -> PieceRead:
        digest, checksum, done = hashlib.sha256(), 0, 0
        with self._package.open(piece.entry) as stream:
            before = state_of(stream)
            if piece.begin:
                stream.seek(piece.begin)
            raw = cast("RawIOBase", stream)
            while done < piece.size_bytes and not self._stopped:
                count = raw.readinto(buffer[: piece.size_bytes - done])
                if not count:
                    break
                block = buffer[:count]
                if self._crc:
                    checksum = crc32(block, checksum)
                if self._sha256:
                    digest.update(block)
                done += count
                tell(count)
            more = piece.is_last and stream.read(1)
            after = state_of(stream)
        if more or (done < piece.size_bytes and not self._stopped):
            raise self._other_size(piece, f"only {piece.begin + done}" if not more else "more")
        return PieceRead(piece, digest.digest() if self._sha256 else b"", checksum, (before, after))

    def _other_size(self, piece: Piece, found: str) -> MalformedPackageError:
        expected = self._package.manifest.entries[piece.entry].size_bytes
        return MalformedPackageError(
            f"{self._package.source}: {piece.entry}: expected {expected} bytes, found {found}; "
            "it changed while it was read",
            hint="try again when nothing else writes to it",
            entry=piece.entry,
            code="package.size_mismatch",
        )


class _Teller:
    """Adds up what one thread read, and tells it in larger steps."""

    def __init__(self, progress: Progress | None, lock: threading.Lock) -> None:
        self._progress, self._lock, self._untold = progress, lock, 0

    def tell(self, count: int) -> None:
        self._untold += count
        if self._untold >= _TOLD_BYTES:
            self.flush()

    def flush(self) -> None:
        if self._progress is not None and self._untold:
            with self._lock:
                self._progress(self._untold)
        self._untold = 0
