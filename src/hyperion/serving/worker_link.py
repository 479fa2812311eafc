"""The supervisor's end of one worker: its process, its channel, its deadline."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable
from datetime import datetime

import msgspec

from hyperion.domain.worker_state import Worker
from hyperion.ports import WorkerProcess
from hyperion.serving.channel import LINE_LIMIT, CannotServe, ToSupervisor, ToWorker, encode, parse_report

LAST_WORDS_S = 1.0
"""How long the channel is read after the process has ended."""


class WorkerLink:
    """A started worker.

    Args:
        worker: Which one.
        process: Its process.
        started_at: When it was started.
        on_report: Called with everything it says.
        on_exit: Called once, with the reason, when it is gone and all it said was heard.
    """

    def __init__(
        self,
        worker: Worker,
        process: WorkerProcess,
        started_at: datetime,
        on_report: Callable[[WorkerLink, ToSupervisor], None],
        on_exit: Callable[[WorkerLink, str], None],
    ) -> None:
        self.worker = worker
        self.process = process
        self.started_at = started_at
        self.accepting_since: float | None = None
        self._on_report = on_report
        self._on_exit = on_exit
        self._complaint: str | None = None
        self._loop = asyncio.get_running_loop()
        self._writer: asyncio.StreamWriter | None = None
        self._unsent: list[bytes] = []
        self._deadline: asyncio.TimerHandle | None = None
        self._life = self._loop.create_task(self._live())

    @property
    def name(self) -> str:
        return self.worker.name

    def send(self, message: ToWorker) -> None:
        """Tell the worker; what a dead one is told is lost."""
        line = encode(message)
        if self._writer is None:
            self._unsent.append(line)
        elif not self._writer.is_closing():
            self._writer.write(line)

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
        try:
            reader, self._writer = await asyncio.open_unix_connection(sock=self.process.control, limit=LINE_LIMIT)
            self._writer.writelines(self._unsent)
            listening = asyncio.create_task(self._listen(reader))
            await exited.wait()
            self._loop.remove_reader(self.process.exit_fd)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(listening, LAST_WORDS_S)
        finally:
            self._loop.remove_reader(self.process.exit_fd)
            self.expect_nothing()
            if self._writer is not None:
                self._writer.close()
        self._on_exit(self, self._reason(self.process.reap()))

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        try:
            while line := await reader.readline():
                report = parse_report(line)
                if isinstance(report, CannotServe):
                    self._complaint = report.reason
                self._on_report(self, report)
        except ConnectionError:
            return  # it died; the pidfd tells
        except (msgspec.DecodeError, ValueError) as error:
            self._complaint = f"it does not speak our protocol: {error}"
            self.process.kill()

    def _reason(self, status: int) -> str:
        if self._complaint is not None:
            return f"worker {self.name}: {self._complaint}"
        return f"worker {self.name} {exit_in_words(status)}"


def exit_in_words(status: int) -> str:
    """``ended with exit status 3`` or ``was killed by SIGKILL``."""
    if status >= 0:
        return f"ended with exit status {status}"
    try:
        return f"was killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"was killed by signal {-status}"
