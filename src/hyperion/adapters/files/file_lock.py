"""One holder at a time: an advisory lock on a file, with a note on who holds it."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from hyperion.adapters.files.atomic_file import translated
from hyperion.adapters.files.state_folder import make_private
from hyperion.errors import ConflictError

_LONGEST_NOTE = 200


class SupervisorLock:
    """Held by the supervisor of a state folder as long as it lives; the kernel lets go when it dies."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1

    def __enter__(self) -> Self:
        """Take the lock.

        Raises:
            ConflictError: Another process holds it (code ``supervisor.already_running``).
            HostError: The file cannot be made.
        """
        with translated(self._path):
            make_private(self._path.parent)
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.pread(descriptor, _LONGEST_NOTE, 0).decode(errors="replace").strip() or "unknown"
                os.close(descriptor)
                raise ConflictError(
                    f"a supervisor runs already on {self._path.parent.parent}: {holder}",
                    hint="'hyperion status' asks it; 'hyperion stop --all' ends it",
                    code="supervisor.already_running",
                ) from None
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"pid {os.getpid()}\n".encode(), 0)
        self._descriptor = descriptor
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        os.ftruncate(self._descriptor, 0)
        os.close(self._descriptor)
        self._descriptor = -1
