"""The lock on a package: one process changes it at a time, and a reader can wait until it is done."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from hyperion.adapters.files.atomic_file import translated
from hyperion.errors import ConflictError

WAIT_S = 5.0
"""A change takes milliseconds; whoever holds a package longer hangs."""

_PAUSE_S = 0.01
_WITHOUT_LOCKS = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS}


@contextlib.contextmanager
def locked(path: Path, *, exclusive: bool) -> Iterator[int]:
    """Hold the package file or directory at ``path``; gives its descriptor.

    Args:
        path: What to lock; no symbolic link.
        exclusive: To change it; else to look at it while nobody does.

    Raises:
        ConflictError: Another process holds it for longer than WAIT_S (code ``package.locked``).
        HostError: No permission, or the file system has no locks and the package is to be changed.
    """
    with translated(path):
        descriptor = _open_locked(path, exclusive=exclusive)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _open_locked(path: Path, *, exclusive: bool) -> int:
    deadline = time.monotonic() + WAIT_S
    while True:
        descriptor = os.open(path, _flags(path, exclusive=exclusive))
        try:
            _lock(descriptor, path, deadline, exclusive=exclusive)
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # another one took this name while this one was waited for


def _lock(descriptor: int, path: Path, deadline: float, *, exclusive: bool) -> None:
    kind = fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH
    while True:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise ConflictError(
                    f"{path} is being changed by another process, for more than {WAIT_S:g} s",
                    hint="wait for it, or find it with 'fuser -v' or 'lslocks', and repeat",
                    code="package.locked",
                ) from None
            time.sleep(_PAUSE_S)
        except OSError as error:
            if exclusive or error.errno not in _WITHOUT_LOCKS:
                raise
            return  # nobody can hold it here
        else:
            return


def _flags(path: Path, *, exclusive: bool) -> int:
    if stat.S_ISDIR(path.stat().st_mode):
        return os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    return (os.O_RDWR if exclusive else os.O_RDONLY) | os.O_CLOEXEC
