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

VARIABLE = "HYPERION_SUPERVISOR_LOCK"
"""Names the descriptor of the lock to a supervisor that was started in the process of the one before."""
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
            descriptor = self._handed_over()
            if descriptor is None:
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

    def hand_over(self) -> dict[str, str]:
        """Keep the lock over exec; returns what the program that comes finds it by, in its environment."""
        os.set_inheritable(self._descriptor, True)
        return {VARIABLE: str(self._descriptor)}

    def _handed_over(self) -> int | None:
        """The descriptor that holds the lock already, where one came over exec."""
        text = os.environ.pop(VARIABLE, "")
        if not (text.isascii() and text.isdigit()):
            return None
        descriptor = int(text)
        try:
            if not os.path.samestat(os.fstat(descriptor), self._path.stat()):
                return None
            os.set_inheritable(descriptor, False)
        except OSError:
            return None
        return descriptor
