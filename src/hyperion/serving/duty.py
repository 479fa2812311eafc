"""What a proven worker does at its supervisor's orders, and how far it has come."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hyperion.domain.worker_state import WorkerState
from hyperion.serving.application import Application
from hyperion.serving.channel import (
    CHANNEL_VERSION,
    Accepting,
    AcceptTraffic,
    Beat,
    Beaten,
    Drained,
    FramesOpen,
    Guard,
    Introduced,
    LameDucked,
    LeaveTraffic,
    OpenFrames,
    Replay,
    Replayed,
    Rest,
    Rested,
    Route,
    Routed,
    Start,
    ToSupervisor,
    ToWorker,
    encode,
    parse_order,
)
from hyperion.serving.door import Door, Headers
from hyperion.serving.failure_log import FailureLog
from hyperion.serving.own_process import resident_bytes, started_ticks
from hyperion.serving.supervisor_channel import SupervisorChannel
from hyperion.serving.telemetry import INFLIGHT, Slot, SlotLabels
from hyperion.serving.traffic import Traffic

TICK_S = 1.0

Findings = list[dict[str, Any]]


class Duty:
    """A worker between its proof and its end.

    Args:
        order: Its start order.
        channel: To its supervisor, and the next one.
        log: Its log.
        door: What its connections share.
        traffic: Its sockets.
        application: Answers.
        replay: Runs the golden requests again, in a thread.
    """

    def __init__(
        self,
        order: Start,
        channel: SupervisorChannel,
        log: FailureLog,
        door: Door,
        traffic: Traffic,
        application: Application,
        replay: Callable[[], Findings],
    ) -> None:
        self._order = order
        self._channel = channel
        self._log = log
        self._door = door
        self._traffic = traffic
        self._application = application
        self._replay = replay
        self.protections: list[dict[str, Any]] = []
        """What holds this worker back: domain.confinement.Protection as JSON."""
        self._state = WorkerState.GATED
        self._revision, self._name = order.revision, order.worker
        self._former_slots: list[Slot] = []
        self._draining: asyncio.Task[None] | None = None
        self._replaying: asyncio.Task[None] | None = None
        self._left = asyncio.Event()

    def introduce(self) -> Introduced:
        """Who this worker is now."""
        return Introduced(
            version=CHANNEL_VERSION,
            started_ticks=started_ticks(),
            deployment=self._order.deployment,
            worker=self._name,
            revision=self._revision,
            state=self._state,
            has_listener=False,
            frames_path=self._order.frames_path,
            handover_path=self._order.handover_path,
            protections=self.protections,
        )

    async def serve(self) -> None:
        """Follow the supervisor's orders until told to leave; without a supervisor that could come, leave."""
        clock = asyncio.create_task(self._keep_time())
        orders, left = asyncio.create_task(self._follow()), asyncio.create_task(self._left.wait())
        try:
            await asyncio.wait((orders, left), return_when=asyncio.FIRST_COMPLETED)
            if not self._left.is_set():
                await orders
        finally:
            for task in (clock, orders, left):
                task.cancel()
            self._door.slot.end()

    # --- orders ---

    async def _follow(self) -> None:
        while line := await self._channel.read_line():
            await self._obey(parse_order(line))
        if self._draining is None or self._state is not WorkerState.LAME_DUCK:
            self._log.event("supervisor.gone", "no supervisor came: finishing what is in flight", level="warning")
            await self._begin_to_leave(self._order.drain_timeout_s, ())
        await self._left.wait()

    async def _obey(self, order: ToWorker) -> None:
        match order:
            case Beat(number):
                self._channel.send(encode(Beaten(number, resident_bytes())))
            case AcceptTraffic(revision, worker):
                await self._accept(revision, worker)
            case Guard():
                self._guard(order)
            case Route():
                await self._traffic.route(order, [self._channel.take() for _ in order.paths])
                await self._say(Routed(order.revision, order.share))
            case OpenFrames():
                self._traffic.open_frames()
                self._state = WorkerState.CANARY
                await self._say(FramesOpen(self._order.frames_path))
            case Rest(deadline_s, heirs):
                await self._begin_to_rest(deadline_s, [self._channel.take() for _ in heirs])
            case LeaveTraffic(deadline_s, heirs, idle_s):
                await self._begin_to_leave(deadline_s, [self._channel.take() for _ in heirs], idle_s)
            case Replay():
                self._replaying = asyncio.create_task(self._replay_goldens())

    def _guard(self, order: Guard) -> None:
        try:
            self._traffic.guard(order)
        except (OSError, ValueError) as error:
            message = f"the new certificate cannot be used, the one that was there stays: {error}"
            self._log.event("worker.certificate_refused", message, level="error")

    async def _accept(self, revision: int | None, worker: str | None) -> None:
        await self._stop_draining()
        if revision is not None and worker is not None and (revision, worker) != (self._revision, self._name):
            self._rename(revision, worker)
        await self._traffic.accept()
        self._state = WorkerState.ACCEPTING
        await self._say(Accepting())

    async def _begin_to_rest(self, deadline_s: float, heirs: Sequence[socket.socket]) -> None:
        await self._stop_draining()
        self._state = WorkerState.RESTING
        await self._say(LameDucked(self._traffic.turn_away(heirs)))
        self._draining = asyncio.create_task(self._rest(deadline_s))

    async def _rest(self, deadline_s: float) -> None:
        cut = await self._traffic.drain(deadline_s)
        self._state = WorkerState.WARM
        await self._say(Rested(cut))
        await self._traffic.make_ready()  # now, and not when it is told to come back

    async def _begin_to_leave(
        self, deadline_s: float, heirs: Sequence[socket.socket], idle_s: float | None = None
    ) -> None:
        await self._stop_draining()
        self._state = WorkerState.LAME_DUCK
        still_here = self._traffic.turn_away(heirs)
        self._traffic.close_listener()
        await self._say(LameDucked(still_here))
        self._draining = asyncio.create_task(self._leave(deadline_s, idle_s))

    async def _leave(self, deadline_s: float, idle_s: float | None) -> None:
        cut = await self._traffic.drain(deadline_s, idle_s)
        self._state = WorkerState.DRAINED
        await self._say(Drained(cut))
        self._left.set()

    async def _stop_draining(self) -> None:
        if self._draining is not None:
            self._draining.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._draining
            self._draining = None

    async def _replay_goldens(self) -> None:
        await self._say(Replayed(await asyncio.to_thread(self._replay)))

    # --- names and counters ---

    def _rename(self, revision: int, worker: str) -> None:
        """Serve as another revision from now on; requests in work are counted where they began."""
        self._revision, self._name = revision, worker
        former, self._door.slot = self._door.slot, begin_slot(self._order, revision, worker)
        former.end()
        self._former_slots.append(former)
        self._door.identity = identity(self._order, revision)
        self._log.rename(revision, worker)
        self._application.rename(revision)

    async def _say(self, message: ToSupervisor) -> None:
        """Report; without a supervisor it is lost."""
        self._channel.send(encode(message))
        await self._channel.flush()

    async def _keep_time(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self._traffic.tick()
            for slot in [slot for slot in self._former_slots if not slot.counters[INFLIGHT]]:
                self._former_slots.remove(slot)
                slot.close()


def identity(order: Start, revision: int) -> Headers:
    """The headers of every answer that say who gave it."""
    return [
        (b"hyperion-deployment", order.deployment.encode()),
        (b"hyperion-model", order.model.encode()),
        (b"hyperion-version", order.model_version.encode()),
        (b"hyperion-revision", str(revision).encode()),
    ]


def begin_slot(order: Start, revision: int, worker: str) -> Slot:
    """The counters of a worker that begins now."""
    labels = SlotLabels(order.deployment, order.model, order.model_version, revision)
    slot = Slot(Path(order.metrics_dir), worker, labels)
    slot.begin(time.time_ns() // 1_000_000)
    return slot
