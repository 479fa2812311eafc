"""Copying with fingerprints: CRC in this thread, sha256 in two others, over a few reused buffers.

Fresh memory costs more than hashing it, so blocks are read into the same buffers again and again. All digests
release the interpreter lock; sha256 is the slow one and sets the pace, and a chunked entry needs
it twice: over the whole and over each chunk.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import BinaryIO, Protocol, Self, cast

from hyperion.domain.digest import PREFIX
from hyperion.errors import MalformedPackageError
from hyperion.format.chunk_tree import CHUNK_BYTES
from hyperion.format.limits import BLOCK_BYTES

try:
    from isal.isal_zlib import crc32
except ImportError:  # no wheel for this processor; same figure, a quarter of the speed
    crc32 = zlib.crc32

__all__ = ["BlockPump", "Fingerprint", "Progress", "crc32"]

Progress = Callable[[int], None]
"""Called with the bytes newly done."""

_BUFFERS = 8


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What the bytes of an entry come to."""

    digest: str
    crc32: int
    chunk_digests: bytes = b""
    """The SHA-256 digests of its chunks, one after the other, where they were asked for."""


class _ReadableInto(Protocol):
    def readinto(self, buffer: memoryview, /) -> int | None: ...


class BlockPump:
    """Moves streams block by block and fingerprints them on the way; reuse one for many entries, then close it."""

    def __init__(self) -> None:
        self._buffers = [memoryview(bytearray(BLOCK_BYTES)) for _ in range(_BUFFERS)]
        self._busy: list[list[Future[None]]] = [[] for _ in range(_BUFFERS)]
        self._hasher = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sha256")
        self._chunk_hasher = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sha256-chunks")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._hasher.shutdown()
        self._chunk_hasher.shutdown()

    def pump(
        self,
        source: BinaryIO,
        size_bytes: int,
        what: str,
        *,
        write: Callable[[memoryview], object] | None = None,
        look: Callable[[memoryview], None] | None = None,
        progress: Progress | None = None,
        chunked: bool = False,
    ) -> Fingerprint:
        """Read exactly ``size_bytes`` from ``source``.

        Args:
            source: Positioned at the first byte.
            size_bytes: What it must hold, to its end.
            what: Its name, for messages.
            write: Takes every block, whole.
            look: Sees the first block before it is written.
            progress: Told of every block.
            chunked: Whether to digest its chunks too.

        Raises:
            MalformedPackageError: ``source`` is shorter or longer (code ``package.size_mismatch``).
        """
        sha256, chunks, checksum, done, turn = hashlib.sha256(), _Chunks(), 0, 0, 0
        try:
            while done < size_bytes or turn == 0:
                self._wait(turn % _BUFFERS)
                block = _fill(source, self._buffers[turn % _BUFFERS][: size_bytes - done])
                if look is not None and turn == 0:
                    look(block)
                if len(block) == 0:
                    break
                if size_bytes > BLOCK_BYTES:
                    self._busy[turn % _BUFFERS].append(self._hasher.submit(sha256.update, block))
                else:  # a thread's turn costs more than a small entry
                    sha256.update(block)
                if chunked:
                    self._busy[turn % _BUFFERS].append(self._chunk_hasher.submit(chunks.update, block))
                checksum = crc32(block, checksum)
                if write is not None:
                    write(block)
                done += len(block)
                turn += 1
                if progress is not None:
                    progress(len(block))
        finally:
            for slot in range(_BUFFERS):
                self._wait(slot)
        if done != size_bytes or source.read(1):
            found = f"only {done}" if done != size_bytes else "more"
            raise MalformedPackageError(
                f"{what}: expected {size_bytes} bytes, found {found}; it changed while it was read",
                hint="try again when nothing else writes to it",
                code="package.size_mismatch",
            )
        return Fingerprint(PREFIX + sha256.hexdigest(), checksum, chunks.digests())

    def _wait(self, slot: int) -> None:
        futures, self._busy[slot] = self._busy[slot], []
        for future in futures:
            future.result()


class _Chunks:
    """The digests of chunks, fed block by block; a chunk ends where a block ends."""

    def __init__(self) -> None:
        self._done = b""
        self._current, self._filled = hashlib.sha256(), 0

    def update(self, block: memoryview) -> None:
        self._current.update(block)
        self._filled += len(block)
        if self._filled == CHUNK_BYTES:
            self._done += self._current.digest()
            self._current, self._filled = hashlib.sha256(), 0

    def digests(self) -> bytes:
        return self._done + (self._current.digest() if self._filled else b"")


def _fill(source: BinaryIO, buffer: memoryview) -> memoryview:
    """Read until ``buffer`` is full or ``source`` ends; the part that was filled."""
    stream, filled = cast("_ReadableInto", source), 0
    while filled < len(buffer):
        count = stream.readinto(buffer[filled:])
        if not count:
            break
        filled += count
    return buffer[:filled]
