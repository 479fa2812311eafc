"""The supervisor from outside, and the workers from inside it."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

# Only types are spoken of here: the supervisor needs no numpy, and a worker's start is waited for.
if TYPE_CHECKING:
    from hyperion.domain.command import Command, Pong, Progress, Reply


class SupervisorControl(Protocol):
    """The running supervisor, from outside."""

    def ping(self) -> Pong | None:
        """None where none runs."""

    def ensure_running(self) -> Pong:
        """Start one, detached, where none runs.

        Raises:
            HostError: It did not come up; the message holds the end of its log.
        """

    def ask(self, command: Command, on_progress: Callable[[Progress], None] | None = None) -> Reply:
        """Send and wait for the final reply.

        Raises:
            HostError: No supervisor runs (code ``supervisor.not_running``), or it went away meanwhile.
            HyperionError: The supervisor refused; the very class and code that it named.
        """


class WorkerProcess(Protocol):
    """One started worker process, seen by its supervisor."""

    @property
    def pid(self) -> int: ...

    @property
    def control(self) -> socket.socket:
        """Our end of the socket pair; at its end of file the worker is gone."""

    @property
    def exit_fd(self) -> int:
        """Readable once the process has ended (a pidfd)."""

    def reap(self) -> int:
        """Its exit status, or minus the signal that killed it; only once ``exit_fd`` is readable."""

    def kill(self) -> None:
        """End it at once; nothing happens where it is gone."""


class WorkerLauncher(Protocol):
    """Starts worker processes."""

    def launch(self, deployment: str, revision: int, listener: socket.socket) -> WorkerProcess:
        """Start one; it inherits the listening socket and writes to the log of its revision.

        Raises:
            HostError: The process could not be started.
        """
