"""Copying between files inside the kernel: a clone where the file system can, no bytes through Python in any case."""

from __future__ import annotations

import errno
import os

from hyperion.errors import MalformedPackageError

_UNSUPPORTED = {errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP}


def copy_start(source: int, target: int, size_bytes: int, what: str) -> None:
    """Copy the first ``size_bytes`` of one file to another, both at position 0.

    Args:
        source: Descriptor to read.
        target: Descriptor to write; its position ends behind the copy.
        size_bytes: How much.
        what: Name of the source, for messages.

    Raises:
        MalformedPackageError: The source is shorter (code ``package.truncated``).
    """
    done, clone = 0, True
    while done < size_bytes:
        try:
            count = (
                os.copy_file_range(source, target, size_bytes - done)
                if clone
                else os.sendfile(target, source, None, size_bytes - done)
            )
        except OSError as error:
            if not clone or error.errno not in _UNSUPPORTED:
                raise
            clone = False
            continue
        if count == 0:
            raise MalformedPackageError(
                f"{what}: became shorter while it was copied", entry=None, code="package.truncated"
            )
        done += count
