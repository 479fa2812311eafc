"""The supervisor from outside, and the workers from inside it."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

# Only types are spoken of here: the supervisor needs no numpy, and a worker's start is waited for.
if TYPE_CHECKING:
    from hyperion.domain.command import Command, Pong, Progress, Reply
    from hyperion.domain.confinement import Protection


class SupervisorControl(Protocol):
    """The running supervisor, from outside."""

    def ping(self) -> Pong | None:
        """None where none runs."""

    def has_orphans(self) -> bool:
        """Whether workers live on that a supervisor left which was killed; asked where none runs."""

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
    """One worker process, seen by its supervisor."""

    @property
    def pid(self) -> int: ...

    @property
    def control(self) -> socket.socket:
        """Our end of the channel; at its end of file the worker is gone."""

    @property
    def exit_fd(self) -> int:
        """Readable once the process has ended (a pidfd)."""

    def halted(self) -> bool:
        """Whether it was stopped by a signal and does nothing; a traced one is not meant."""

    def reap(self) -> int | None:
        """Its exit status, or minus the signal that killed it; only once ``exit_fd`` is readable.

        None where nobody tells: the kernel gives the status of a process only to the one that started it.
        """

    def kill(self) -> None:
        """End it at once; nothing happens where it is gone."""

    def limit_memory(self, limit_bytes: int) -> Protection:
        """Have the kernel kill it beyond that much memory, where this host lets us; says what is in force."""

    def memory_kill(self) -> str | None:
        """What the kernel says where it killed for want of memory; None where it did not, or does not say.

        To be asked before ``reap``.
        """


class OrphanedWorker(WorkerProcess, Protocol):
    """A worker that a dead supervisor left; ``control`` is a fresh connection to it, which it greets."""

    @property
    def started_ticks(self) -> int | None:
        """When the process that has this pid now was started, in the kernel's ticks; None where it does not say."""


class WorkerLauncher(Protocol):
    """Starts worker processes, and finds those that outlived their supervisor."""

    def launch(self, deployment: str, revision: int, listener: socket.socket) -> WorkerProcess:
        """Start one; it inherits the listening socket and writes to the log of its revision.

        Raises:
            HostError: The process could not be started.
        """

    def orphans(self) -> tuple[OrphanedWorker, ...]:
        """Every living worker of this state folder that has no supervisor; traces of dead ones are removed.

        Only for whoever holds the supervisor's lock, before it launches any.
        """


class ServiceManager(Protocol):
    """What started the supervisor and may want to hear how it is: systemd, or nothing."""

    @property
    def watchdog_s(self) -> float | None:
        """It wants to hear something at least this often; None where it does not."""

    def tell(self, *states: str) -> bool:
        """Say ``READY=1``, ``STATUS=…`` and the like (man 3 sd_notify); nothing happens where nobody listens.

        Returns whether it need not be said again: it never waits, and what cannot be taken now is lost.
        """

    def listeners(self) -> tuple[socket.socket, ...]:
        """Listening sockets that it opened for us (man 3 sd_listen_fds)."""

    def hand_over(self) -> Mapping[str, str]:
        """Let the program that takes our place by exec hear of it, too; returns what its environment must hold."""
