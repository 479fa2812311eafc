"""Another manifest or signing in a package file, in place: crash-safe without a second file, whatever its size.

What stands behind the payloads, the ending, is replaced in three steps, each made durable before the next begins:

1. the new ending is written ahead, behind the end of the file: every payload is listed by a complete ending that the
   file ends with, and the old one is untouched;
2. the new ending is written to its own place, over the old one;
3. the file is cut off behind it, and is what packaging with that manifest would have made, byte for byte.

A file that is found between two steps is refused by readers and repaired by hyperion.format.recovery.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from hyperion.format.archive_writer import end_of_package
from hyperion.format.zip_records import EntryRecord, directory_of


class ChangeableFile(Protocol):
    """A file that is changed in place; each call is the system call of that name and raises OSError as it does."""

    def pwrite(self, data: memoryview, offset: int, /) -> int:
        """Returns how many bytes were written, perhaps fewer than given."""

    def fsync(self) -> None: ...

    def truncate(self, size_bytes: int, /) -> None: ...


@dataclass(frozen=True)
class Ending:
    """All that stands behind the payloads of a package file.

    Attributes:
        payloads: Every entry that the manifest lists, in order; at least one.
        raw_manifest: Canonical bytes of the manifest.
        signing: What model.sig holds, None where the package is not signed.
    """

    payloads: Sequence[EntryRecord]
    raw_manifest: bytes
    signing: bytes | None = None

    @property
    def begin(self) -> int:
        """Its own place: where the last payload ends."""
        return self.payloads[-1].end

    @cached_property
    def _directory(self) -> bytes:
        return directory_of(self.payloads)

    @cached_property
    def data(self) -> bytes:
        """The bytes in their own place."""
        return self.at(self.begin)

    def at(self, position: int) -> bytes:
        """The bytes, as they are when they stand at ``position``."""
        return end_of_package(self.payloads, self.raw_manifest, self.signing, begin=position, directory=self._directory)


def written_ahead(size_bytes: int, ending: Ending) -> bytes:
    """What step 1 writes behind the end of a package file of ``size_bytes``.

    Zeros fill what step 2 needs between the old end and the copy that is written ahead, so that a full disk is met
    where nothing is lost yet.
    """
    ahead = max(size_bytes, ending.begin + len(ending.data))
    return bytes(ahead - size_bytes) + ending.at(ahead)


def write_ahead(file: ChangeableFile, size_bytes: int, data: bytes) -> None:
    """Step 1; where it fails, the file has its old size and bytes again.

    Args:
        file: A package file of ``size_bytes``.
        size_bytes: Its size.
        data: From ``written_ahead``.

    Raises:
        OSError: The disk is full, the file would be larger than allowed, or the disk failed.
    """
    try:
        _write(file, data, size_bytes)
        file.fsync()
    except OSError:
        file.truncate(size_bytes)
        raise


def settle(file: ChangeableFile, ending: Ending) -> None:
    """Steps 2 and 3, on a file that ends with ``ending`` written ahead.

    Raises:
        OSError: The disk failed. The file is between two steps; a failed fsync is not repeated, for what it did not
            write may be gone from memory.
    """
    _write(file, ending.data, ending.begin)
    file.fsync()
    file.truncate(ending.begin + len(ending.data))
    file.fsync()


def _write(file: ChangeableFile, data: bytes, offset: int) -> None:
    """All of ``data``: one call may write less (a signal, the last free block, 2 GiB)."""
    view, done = memoryview(data), 0
    while done < len(data):
        done += file.pwrite(view[done:], offset + done)
