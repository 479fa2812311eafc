"""Workers that outlived their supervisor: met again, with the listening sockets that they kept open meanwhile.

No file says which they are. Each listens on a unix socket of its own in the supervisor's private folder; connecting
there proves that it lives, the kernel says which process listens (SO_PEERCRED), and the worker says the rest itself.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from dataclasses import dataclass

from hyperion.domain.worker_state import Worker, WorkerState
from hyperion.ports import OrphanedWorker, WorkerLauncher
from hyperion.serving.channel import CHANNEL_VERSION, Introduced, parse_report
from hyperion.serving.wire import Wire

GREETING_S = 20.0
"""How long an orphan may take to greet: milliseconds, but for one whose event loop is held up by a long inference."""
ADOPTABLE = frozenset(
    {WorkerState.CANARY, WorkerState.ACCEPTING, WorkerState.LAME_DUCK, WorkerState.RESTING, WorkerState.WARM}
)
"""What others have no traffic to lose, and their proof was heard by a supervisor that is gone."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Survivor:
    """An orphan that greeted.

    Attributes:
        process: Its process.
        wire: The channel, ready for orders.
        who: What it said of itself.
        listener: The listening socket that it holds, as a copy of our own; None where it has closed it.
        fault: Why it cannot be adopted and was ended; its listening socket is used all the same.
    """

    process: OrphanedWorker
    wire: Wire
    who: Introduced
    listener: socket.socket | None
    fault: str | None = None

    @property
    def worker(self) -> Worker:
        """It, as the rollout rules see it."""
        return Worker(self.who.revision, int(self.who.worker.rpartition("-w")[2]), WorkerState(self.who.state))


async def meet_orphans(launcher: WorkerLauncher) -> tuple[Survivor, ...]:
    """Every worker that greets, by deployment and name; those that do not, or cannot be adopted, are ended."""
    orphans = launcher.orphans()
    met = await asyncio.gather(*(meet(orphan) for orphan in orphans))
    return tuple(
        sorted(
            (found for found in met if found is not None),
            key=lambda one: (one.who.deployment, one.who.revision, one.who.worker),
        )
    )


async def meet(orphan: OrphanedWorker) -> Survivor | None:
    """Hear its greeting, and hold it against what the kernel says; None where it says nothing of use and was ended."""
    wire = Wire(orphan.control)
    if orphan.halted():
        _give_up(orphan, wire, "it was stopped by a signal")
        return None
    try:
        async with asyncio.timeout(GREETING_S):
            who = _parsed(await wire.read_line())
        listener = wire.take() if who.has_listener else None
    except (TimeoutError, ValueError) as error:
        _give_up(orphan, wire, str(error) or f"it did not greet within {GREETING_S:g} s")
        return None
    if listener is not None:
        listener.setblocking(False)
    fault = _fault(who, orphan)
    if fault is not None:
        _give_up(orphan, wire, fault)
    return Survivor(orphan, wire, who, listener, fault)


def let_go(survivor: Survivor) -> None:
    """Close all that we hold of it."""
    survivor.wire.close()
    survivor.process.reap()
    if survivor.listener is not None:
        survivor.listener.close()


def _give_up(orphan: OrphanedWorker, wire: Wire, why: str) -> None:
    _log.warning("the worker with pid %d is ended, not adopted: %s", orphan.pid, why)
    orphan.kill()
    wire.close()
    orphan.reap()


def _parsed(line: bytes) -> Introduced:
    """The greeting; raises ValueError where it is none (msgspec.DecodeError is one)."""
    found = parse_report(line) if line else None
    if isinstance(found, Introduced):
        return found
    raise ValueError("it went away before it greeted" if found is None else "it did not introduce itself")


def _fault(who: Introduced, orphan: OrphanedWorker) -> str | None:
    if who.version != CHANNEL_VERSION:
        return f"it is of other software: it speaks channel version {who.version}, this supervisor {CHANNEL_VERSION}"
    if who.started_ticks != orphan.started_ticks:
        return "its pid is another process's by now"
    if who.state not in ADOPTABLE:
        return f"it is {who.state} and serves nobody"
    return None
