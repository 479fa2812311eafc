"""One deployment in the supervisor: observes its workers, asks the rollout rules, and does what they say."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from socket import socket

from hyperion.domain import action as act
from hyperion.domain import observation as seen
from hyperion.domain.command import Deployed, Progress
from hyperion.domain.deployment import Revision
from hyperion.domain.event import EventKind
from hyperion.domain.rollout import RolloutState, ServingState, advance
from hyperion.domain.worker_state import Worker, WorkerState
from hyperion.errors import HyperionError
from hyperion.serving.listener import Listeners, url_of
from hyperion.serving.record import DeploymentRecord
from hyperion.serving.surroundings import Surroundings
from hyperion.serving.telemetry import forget_slots
from hyperion.serving.wording import count
from hyperion.serving.worker_link import WorkerLink
from hyperion.serving.worker_set import WorkerSet

KEPT_REVISIONS = 20
"""So many replaced revisions stay in /metrics."""


class RunningDeployment:
    """A deployment with workers.

    Args:
        name: The deployment's name.
        surroundings: Ports.
        on_ended: Called once, when nothing of it runs any more.
    """

    def __init__(self, name: str, surroundings: Surroundings, on_ended: Callable[[RunningDeployment], None]) -> None:
        self.name = name
        self.state = ServingState()
        self.trouble: str | None = None
        self.workers = WorkerSet(
            name,
            surroundings,
            observe=self.observe,
            say=self._say,
            on_accepting=self._accepting,
            on_gone=self._gone,
        )
        self._around = surroundings
        self._record = DeploymentRecord(surroundings.ledger, name)
        self._on_ended = on_ended
        self._revisions: dict[int, Revision] = {}
        self._listeners = Listeners()
        self._observations: deque[seen.Observation] = deque()
        self._advancing = False
        self._stop_recorded = False
        self._ended = asyncio.Event()
        self._outcome: asyncio.Future[Deployed] | None = None
        self._tell: Callable[[Progress], None] = _tell_nobody
        self._began_s = 0.0

    # --- what the supervisor asks ---

    @property
    def active(self) -> Revision | None:
        """The revision that receives traffic by default."""
        return None if self.state.active is None else self._revisions.get(self.state.active)

    @property
    def url(self) -> str | None:
        listener = None if self.state.active is None else self._listeners.of(self.state.active)
        return None if listener is None else url_of(listener)

    def listener_for(self, revision: Revision) -> socket | None:
        """The socket of the active revision, where the new one listens at the same place."""
        active = self.active
        if active is None:
            return None
        there, here = active.config.serve, revision.config.serve
        return self._listeners.of(active.number) if (there.host, there.port) == (here.host, here.port) else None

    def resume(self, revision: Revision, listener: socket) -> None:
        """Serve a revision that was proven and promoted before this supervisor started."""
        self._take_in(revision, listener)
        self.observe(seen.Resumed(revision.number, revision.config.workers))

    async def roll_out(self, revision: Revision, listener: socket, tell: Callable[[Progress], None]) -> Deployed:
        """Bring a new revision into service; returns when the rollout has come to its end."""
        self._take_in(revision, listener)
        self._tell, self._record.actor = tell, revision.actor
        self._began_s = self._around.clock.monotonic()
        self._outcome = asyncio.get_running_loop().create_future()
        self._say("spawn", f"starting {count(revision.config.workers, 'worker')} of revision {revision.number}")
        self.observe(seen.RolloutAsked(revision.number, revision.config.workers))
        try:
            return await self._outcome
        finally:
            self._outcome, self._tell = None, _tell_nobody

    async def stop(self, *, recorded: bool, reason: str) -> None:
        """Drain and end; ``recorded`` says that the ledger holds the stop already."""
        self._stop_recorded = recorded
        self.observe(seen.StopAsked(reason))
        self._listeners.close()  # new clients are refused from here on, and do not wait for nobody
        self._end_if_empty()
        await self._ended.wait()

    # --- the loop: observe, decide, act ---

    def observe(self, observation: seen.Observation) -> None:
        """Take in what happened and do what follows from it."""
        self._observations.append(observation)
        if self._advancing:
            return
        self._advancing = True
        try:
            while self._observations:
                self.state, actions = advance(self.state, self._observations.popleft())
                for action in actions:
                    self._do(action)
        finally:
            self._advancing = False
        self._end_if_empty()

    def _do(self, action: act.Action) -> None:
        match action:
            case act.Spawn(revision, index):
                self.workers.spawn(Worker(revision, index), self._revisions[revision], self._listeners[revision])
            case act.Accept(name):
                self.workers.accept(name)
            case act.LameDuck(name):
                self.workers.lame_duck(name)
            case act.Kill(name):
                self.workers.kill(name)
            case act.RespawnLater(revision, index, delay_s):
                again = seen.RespawnDue(revision, index)
                asyncio.get_running_loop().call_later(delay_s, self.observe, again)
            case act.GiveUp(name, crashes, reason):
                self.trouble = f"worker {name} crashed {crashes} times in a row and was given up: {reason}"
                self._record.note(
                    EventKind.WORKERS_GAVE_UP, self.state.active, worker=name, crashes=crashes, reason=reason
                )
            case act.Promote(revision):
                self._promote(revision)
            case act.Abort(revision, reason):
                self._abort(revision, reason)
            case act.Finish(revision):
                self._finish(revision)

    # --- acting ---

    def _promote(self, number: int) -> None:
        """The one durable write on the path of a switch; answered before anything else is observed."""
        try:
            self._record.promoted(number, self.state.active, self._elapsed_ms())
        except HyperionError as error:
            reason = f"the promotion could not be recorded: {error.message}"
            self._observations.appendleft(seen.PromotionRefused(reason))
            return
        self.trouble = None
        self._say("promote", f"revision {number} is active")
        self._observations.appendleft(seen.PromotionWritten())

    def _abort(self, number: int, reason: str) -> None:
        self._say("abort", reason)
        fault = self._record.aborted(number, self.state.active, reason, self._elapsed_ms(), stopped=self._stop_recorded)
        self.trouble = fault or self.trouble
        self._answer(number, promoted=False, reason=reason)

    def _finish(self, number: int) -> None:
        self._record.note(EventKind.ROLLOUT_SHIFTED, number, duration_ms=self._elapsed_ms())
        forget_slots(self.workers.metrics_dir, number - KEPT_REVISIONS)
        self._listeners.keep_only(number)
        self._revisions = {number: self._revisions[number]}
        self._answer(number, promoted=True, reason=None)

    def _answer(self, number: int, *, promoted: bool, reason: str | None) -> None:
        if self._outcome is None or self._outcome.done():
            return
        self._outcome.set_result(
            Deployed(
                revision=self._revisions[number],
                promoted=promoted,
                url=self.url,
                proof=self.workers.proof,
                reason=reason,
                duration_ms=self._elapsed_ms(),
            )
        )

    # --- what became of a worker ---

    def _accepting(self, link: WorkerLink) -> None:
        if link.worker.index in dict(self.state.crashes):
            self._record.note(EventKind.WORKER_READY, link.worker.revision, worker=link.name, pid=link.process.pid)
        self.observe(seen.Reached(link.name, WorkerState.ACCEPTING))

    def _gone(self, link: WorkerLink, reason: str) -> None:
        worker = self.state.worker(link.name)
        if worker is not None and worker.state not in (WorkerState.LAME_DUCK, WorkerState.DRAINED):
            if worker.revision == self.state.active and not self.state.stopping:
                self._record.note(EventKind.WORKER_EXITED, worker.revision, worker=link.name, reason=reason)
            reason = f"{reason} while {worker.state.value}"
        now = self._around.clock.monotonic()
        accepted_s = 0.0 if link.accepting_since is None else now - link.accepting_since
        self.observe(seen.Exited(link.name, reason, accepted_s))
        self._release(link.worker.revision)

    def _release(self, revision: int) -> None:
        """Close the socket of a revision that was aborted and has no worker left."""
        rollout = self.state.rollout
        if revision == self.state.active or self.state.of(revision) or self.state.updating or rollout is None:
            return
        self._listeners.release(revision)

    # --- small things ---

    def _take_in(self, revision: Revision, listener: socket) -> None:
        self._revisions[revision.number] = revision
        self._listeners.add(revision.number, listener)
        self.workers.forget_proofs()

    def _end_if_empty(self) -> None:
        """A deployment without workers ends where it was told to, or where nothing of it was ever promoted."""
        state = self.state
        if self._ended.is_set() or state.workers or self._advancing or self._observations:
            return
        aborted = state.rollout is not None and state.rollout.state is RolloutState.ABORTED
        if state.stopping or (state.active is None and aborted):
            self._listeners.close()
            self._ended.set()
            self._on_ended(self)

    def _say(self, stage: str, message: str) -> None:
        self._tell(Progress(stage=stage, message=message))

    def _elapsed_ms(self) -> int:
        return round(1000 * (self._around.clock.monotonic() - self._began_s))


def _tell_nobody(_progress: Progress) -> None:
    """Where no client follows."""
