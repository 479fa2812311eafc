"""A listening unix socket at a path that clients know.

A path outlives the process that bound it. So one that nobody listens on is taken over, and one that somebody listens on
is not: who listens is asked by connecting, which the kernel alone answers.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from pathlib import Path

from hyperion.errors import HostError

BACKLOG = 2048
_BUSY = frozenset({errno.EAGAIN, errno.EINPROGRESS})
"""Its backlog is full: somebody listens."""


class PathListener(socket.socket):
    """A listening socket that takes its path with it when it is closed: then clients are told that nothing is there."""

    bound: tuple[int, int] | None = None
    """Device and inode of the path, as we bound it."""

    def close(self) -> None:
        if self.bound is not None:
            path, bound, self.bound = Path(self.getsockname()), self.bound, None
            with contextlib.suppress(OSError):
                if _identity(path) == bound:
                    path.unlink()
        super().close()


def open_unix_listener(path: Path, mode: int) -> socket.socket:
    """Bind and listen at ``path``; nobody can connect before it has its ``mode``.

    Raises:
        HostError: Somebody listens there (code ``host.socket_in_use``), it may not be made (``host.socket_forbidden``),
            or cannot, since something else lies there, or there is no folder (``host.socket_path``).
    """
    listener = PathListener(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _clear(path)
        listener.bind(str(path))
        listener.bound = _identity(path)
        path.chmod(mode)
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise _translated(error, path) from error
    except HostError:
        listener.close()
        raise
    return listener


def set_mode(listener: socket.socket, mode: int) -> None:
    """Let others connect from now on, or no longer; of a path that is gone, or not ours, nothing happens."""
    with contextlib.suppress(OSError):
        Path(listener.getsockname()).chmod(mode)


def _clear(path: Path) -> None:
    """Remove a socket that nobody listens on."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise HostError(
            f"{path} is there already, and no socket",
            hint="choose another serve.socket, or move that away",
            code="host.socket_path",
            actual=str(path),
        )
    if is_listened_on(path):
        raise HostError(
            f"another process listens on {path}",
            hint=f"choose another serve.socket, or find who has it: ss -lxp src {path}",
            code="host.socket_in_use",
            expected="a socket that nobody listens on",
            actual=str(path),
        )
    path.unlink(missing_ok=True)


def is_listened_on(path: Path) -> bool:
    """Whether a process listens there; raises OSError where that cannot be asked."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        code = probe.connect_ex(str(path))
    if code in (errno.ECONNREFUSED, errno.ENOENT):
        return False
    if code and code not in _BUSY:
        raise OSError(code, os.strerror(code), str(path))
    return True


def _identity(path: Path) -> tuple[int, int]:
    found = path.lstat()
    return found.st_dev, found.st_ino


def _translated(error: OSError, path: Path) -> HostError:
    if error.errno == errno.EADDRINUSE:  # somebody bound it since we looked
        return HostError(f"another process listens on {path}", code="host.socket_in_use", actual=str(path))
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return HostError(
            f"no permission to listen on {path}: {error.strerror}",
            hint="choose a folder that is yours, such as $XDG_RUNTIME_DIR",
            code="host.socket_forbidden",
            actual=str(path),
        )
    return HostError(
        f"cannot listen on {path}: {error.strerror}",
        hint="make its folder first: Hyperion makes none outside its own",
        code="host.socket_path",
        actual=str(path),
    )
