"""What the system says of a file: as long as all of it is the same, nobody wrote to the file in between.

One hole is known, and closed by ``is_settled``: time stamps have a grain, so a write in the very moment of a look may
leave them as they were (git calls such files racy). What they cannot show at all: bits that a disk lost by itself, and
a clock that was set back on purpose.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import BinaryIO

from hyperion.format.random_access import descriptor_of

SETTLED_NS = 2_000_000_000
"""Longer than the grain of every file system's time stamps; the coarsest, FAT's, is two seconds."""


@dataclass(frozen=True, slots=True)
class FileState:
    """Identity and time stamps of a file.

    Attributes:
        device: Number of its file system.
        inode: Its number there.
        size_bytes: Its length.
        mtime_ns: Last change of its content, nanoseconds since 1970.
        ctime_ns: Last change of content, name, links or permissions; no program can set it.
    """

    device: int
    inode: int
    size_bytes: int
    mtime_ns: int
    ctime_ns: int

    def is_settled(self, moment_ns: int) -> bool:
        """Whether the last change lies so long before a moment that any later one shows in the time stamps."""
        return max(self.mtime_ns, self.ctime_ns) + SETTLED_NS <= moment_ns


def state_of(stream: BinaryIO) -> FileState | None:
    """The state of the file that an entry's stream reads, by its very descriptor; None for memory."""
    descriptor = descriptor_of(stream)
    if descriptor is None:
        return None
    found = os.fstat(descriptor)
    return FileState(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
