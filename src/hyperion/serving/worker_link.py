"""The supervisor's end of one worker: its process, its channel, its deadline, its pulse."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable
from datetime import datetime

from hyperion.domain.worker_state import Worker
from hyperion.ports import WorkerProcess
from hyperion.serving.channel import (
    Beat,
    Beaten,
    CannotServe,
    Gated,
    Guard,
    LeaveTraffic,
    ToSupervisor,
    ToWorker,
    encode,
    parse_report,
)
from hyperion.serving.dialing import dial
from hyperion.serving.heartbeat import BEAT_S, Patience, Pulse
from hyperion.serving.wire import Wire

LAST_WORDS_S = 1.0
"""How long the channel is read after the process has ended."""

_log = logging.getLogger(__name__)


class WorkerLink:
    """A living worker.

    Args:
        worker: Which one; it may come to be called otherwise.
        process: Its process.
        started_at: When it was started.
        patience: With its silence, from its proof on.
        on_report: Called with everything it says.
        on_exit: Called once, with the reason, when it is gone and all it said was heard.
        wire: The channel to one that was adopted, which is proven; None for one that was just started.
    """

    def __init__(
        self,
        worker: Worker,
        process: WorkerProcess,
        started_at: datetime,
        patience: Patience,
        on_report: Callable[[WorkerLink, ToSupervisor], None],
        on_exit: Callable[[WorkerLink, str], None],
        *,
        wire: Wire | None = None,
    ) -> None:
        self.worker = worker
        self.process = process
        self.started_at = started_at
        self.accepting_since: float | None = None
        self.resident_bytes: int | None = None
        """By its latest heartbeat."""
        self.drains_s: float | None = None
        """How long it was given to finish what it has; None until it is told to leave."""
        self.guard: Guard | None = None
        """Whom it was told to let in; None where an earlier supervisor told it."""
        self._pulse = Pulse(patience.request_timeout_s, lambda: patience.counted(self.name), process.halted)
        self._on_report = on_report
        self._on_exit = on_exit
        self._complaint: str | None = None
        self._loop = asyncio.get_running_loop()
        self._wire = wire or Wire(process.control)
        self._deadline: asyncio.TimerHandle | None = None
        self._beats: asyncio.TimerHandle | None = None
        if wire is not None and not worker.leaves:
            self._feel()
        self._life = self._loop.create_task(self._live())
        self._life.add_done_callback(self._log_fault)

    @property
    def name(self) -> str:
        return self.worker.name

    def send(self, message: ToWorker) -> None:
        """Tell the worker; what a dead one is told is lost."""
        if isinstance(message, LeaveTraffic):
            self._feel_no_more()  # from here on its deadline is enough
        message, sockets = dial(message)
        self._wire.send(encode(message), sockets)

    def expect(self, within_s: float, otherwise: Callable[[], None]) -> None:
        """Set the worker's one deadline; a later call replaces it."""
        self.expect_nothing()
        self._deadline = self._loop.call_later(within_s, otherwise)

    def expect_nothing(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    async def _live(self) -> None:
        exited = asyncio.Event()
        self._loop.add_reader(self.process.exit_fd, exited.set)
        listening = asyncio.create_task(self._listen())
        listening.add_done_callback(self._heard_all)
        try:
            await exited.wait()
            self._loop.remove_reader(self.process.exit_fd)
            await asyncio.wait((listening,), timeout=LAST_WORDS_S)
        finally:
            self._loop.remove_reader(self.process.exit_fd)
            self.expect_nothing()
            self._feel_no_more()
            self._wire.close()
        kill = self.process.memory_kill()
        self._on_exit(self, self._reason(self.process.reap(), kill))

    async def _listen(self) -> None:
        try:
            while line := await self._wire.read_line():
                self._hear(parse_report(line))
        except ValueError as error:  # msgspec.DecodeError is one
            self._complaint = f"it does not speak our protocol: {error}"
            self.process.kill()

    def _heard_all(self, listening: asyncio.Task[None]) -> None:
        """A fault of ours while we took a report in must not leave a worker that nobody hears."""
        if not listening.cancelled() and (error := listening.exception()) is not None:
            _log.error("worker %s is ended: what it said could not be taken in", self.name, exc_info=error)
            self.process.kill()

    def _hear(self, report: ToSupervisor) -> None:
        match report:
            case Beaten(number, resident_bytes):
                self._pulse.answered(number)
                self.resident_bytes = resident_bytes
                return
            case CannotServe(reason):
                self._complaint = reason
            case Gated():
                self._feel()
        self._on_report(self, report)

    def _log_fault(self, life: asyncio.Task[None]) -> None:
        if not life.cancelled() and (error := life.exception()) is not None:
            _log.error("the end of worker %s could not be taken in", self.name, exc_info=error)

    # --- its pulse ---

    def _feel(self) -> None:
        self._feel_no_more()
        self._beats = self._loop.call_later(BEAT_S, self._beat)

    def _beat(self) -> None:
        number = self._pulse.tick()
        if self._pulse.fault is not None:
            self._complaint = self._pulse.fault
            self.process.kill()
            return
        if number is not None:
            self.send(Beat(number))
        self._beats = self._loop.call_later(BEAT_S, self._beat)

    def _feel_no_more(self) -> None:
        if self._beats is not None:
            self._beats.cancel()
            self._beats = None

    def _reason(self, status: int | None, memory_kill: str | None) -> str:
        if self._complaint is not None:
            return f"worker {self.name}: {self._complaint}"
        return f"worker {self.name} {exit_in_words(status, memory_kill)}"


def exit_in_words(status: int | None, memory_kill: str | None = None) -> str:
    """``ended with exit status 3`` or ``was killed by SIGKILL``; how an adopted one ended is not known.

    Args:
        status: As WorkerProcess.reap gives it.
        memory_kill: What the kernel says of processes that it killed for want of memory; one ends by SIGKILL then.
    """
    if memory_kill is not None and status in (None, -signal.SIGKILL):
        return f"ran out of memory: {memory_kill}"
    if status is None:
        return "ended; how is not known, since an earlier supervisor started it"
    if status >= 0:
        return f"ended with exit status {status}"
    try:
        return f"was killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"was killed by signal {-status}"
