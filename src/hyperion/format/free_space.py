"""Refusing early what the disk cannot hold, with the two figures that matter."""

from __future__ import annotations

import os
from pathlib import Path

from hyperion.errors import HostError


def require_space(where: int | Path, needed_bytes: int, what: str) -> None:
    """Demand that the file system has room.

    Args:
        where: An open file's descriptor, or a path on the file system.
        needed_bytes: Room to ask for.
        what: What is to be written, for the message.

    Raises:
        HostError: Code ``host.no_space``; names needed and free bytes.
    """
    found = os.statvfs(where)
    free = found.f_bavail * found.f_frsize
    if needed_bytes > free:
        raise no_space(f"{what} in {_folder(where)}", needed_bytes, free)


def _folder(where: int | Path) -> Path:
    """The folder that was asked about; of a descriptor, the one that its file lies in."""
    return where if isinstance(where, Path) else Path(f"/proc/self/fd/{where}").readlink().parent


def no_space(what: str, needed_bytes: int, free_bytes: int, *, or_more: bool = False) -> HostError:
    """The error for a full disk; ``or_more`` says that how much is needed was not known before."""
    return HostError(
        f"no space for {what}: {'at least ' if or_more else ''}{needed_bytes} bytes needed, {free_bytes} free",
        hint="free some space, or choose a place on another disk",
        code="host.no_space",
        expected=needed_bytes,
        actual=free_bytes,
    )
