"""One deployment in the supervisor: observes its workers, asks the rollout rules, and does what they say."""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hyperion.domain import action as act
from hyperion.domain import observation as seen
from hyperion.domain.command import Deployed, Progress
from hyperion.domain.deployment import Revision
from hyperion.domain.event import EventKind
from hyperion.domain.finding import Finding, Outcome
from hyperion.domain.rollout import RolloutState, ServingState, advance
from hyperion.domain.worker_state import Worker, WorkerState
from hyperion.errors import HyperionError
from hyperion.ports import Clock, HostFacts, Ledger, WorkerLauncher
from hyperion.serving.channel import (
    CHANNEL_VERSION,
    Accepting,
    AcceptTraffic,
    CannotServe,
    Drained,
    Gated,
    LameDucked,
    LeaveTraffic,
    Loaded,
    Start,
    ToSupervisor,
    WorkerLimits,
)
from hyperion.serving.judgement import judge
from hyperion.serving.listener import url_of
from hyperion.serving.record import DeploymentRecord
from hyperion.serving.telemetry import forget_slots, retire_slot
from hyperion.serving.worker_link import WorkerLink

ACKNOWLEDGE_S = 10.0
"""How long a proven worker may take to accept."""
KEPT_REVISIONS = 20
"""So many replaced revisions stay in /metrics."""
EXIT_S = 5.0
"""How long a worker may take to exit after its drain deadline."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What every deployment of a supervisor uses."""

    ledger: Ledger
    launcher: WorkerLauncher
    facts: HostFacts
    clock: Clock
    metrics_dir: Path
    """Folder of slot files; each deployment has its own under it."""
    version: str
    """Of this software."""


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
        self.links: dict[str, WorkerLink] = {}
        self.trouble: str | None = None
        self.metrics_dir = surroundings.metrics_dir / name
        self._around = surroundings
        self._record = DeploymentRecord(surroundings.ledger, name)
        self._on_ended = on_ended
        self._revisions: dict[int, Revision] = {}
        self._listeners: dict[int, socket.socket] = {}
        self._proofs: dict[str, tuple[Finding, ...]] = {}
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
        listener = None if self.state.active is None else self._listeners.get(self.state.active)
        return None if listener is None else url_of(listener)

    def listener_for(self, revision: Revision) -> socket.socket | None:
        """The socket of the active revision, where the new one listens at the same place."""
        active = self.active
        if active is None:
            return None
        there, here = active.config.serve, revision.config.serve
        return self._listeners.get(active.number) if (there.host, there.port) == (here.host, here.port) else None

    def resume(self, revision: Revision, listener: socket.socket) -> None:
        """Serve a revision that was proven and promoted before this supervisor started."""
        self._take_in(revision, listener)
        self.observe(seen.Resumed(revision.number, revision.config.workers))

    async def roll_out(self, revision: Revision, listener: socket.socket, tell: Callable[[Progress], None]) -> Deployed:
        """Bring a new revision into service; returns when the rollout has come to its end."""
        self._take_in(revision, listener)
        self._tell, self._record.actor = tell, revision.actor
        self._began_s = self._around.clock.monotonic()
        self._outcome = asyncio.get_running_loop().create_future()
        self._say("spawn", f"starting {_count(revision.config.workers, 'worker')} of revision {revision.number}")
        self.observe(seen.RolloutAsked(revision.number, revision.config.workers))
        try:
            return await self._outcome
        finally:
            self._outcome, self._tell = None, _tell_nobody

    async def stop(self, *, recorded: bool, reason: str) -> None:
        """Drain and end; ``recorded`` says that the ledger holds the stop already."""
        self._stop_recorded = recorded
        self.observe(seen.StopAsked(reason))
        self._close_listeners()  # new clients are refused from here on, and do not wait for nobody
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
                self._spawn(Worker(revision, index))
            case act.Accept(name):
                self._accept(name)
            case act.LameDuck(name):
                self._lame_duck(name)
            case act.Kill(name):
                if link := self.links.get(name):
                    link.process.kill()
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

    def _spawn(self, worker: Worker) -> None:
        revision = self._revisions[worker.revision]
        try:
            self.metrics_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            process = self._around.launcher.launch(self.name, worker.revision, self._listeners[worker.revision])
        except (HyperionError, OSError) as error:
            reason = f"worker {worker.name} could not be started: {error}"
            asyncio.get_running_loop().call_soon(self.observe, seen.Exited(worker.name, reason))
            return
        link = WorkerLink(worker, process, self._around.clock.now(), self._heard, self._gone)
        self.links[worker.name] = link
        link.send(self._start_order(worker, revision))
        seconds = revision.config.startup_timeout_s
        link.expect(seconds, lambda: self._late(link, f"was not ready within startup_timeout_s ({seconds:g} s)"))

    def _start_order(self, worker: Worker, revision: Revision) -> Start:
        config = revision.config
        return Start(
            version=CHANNEL_VERSION,
            server_version=self._around.version,
            deployment=self.name,
            model=revision.model,
            model_version=revision.version,
            revision=revision.number,
            digest=revision.digest,
            worker=worker.name,
            threads=config.threads,
            limits=WorkerLimits(**config.limits.model_dump()),
            drain_timeout_s=config.drain_timeout_s,
            metrics_dir=str(self.metrics_dir),
        )

    def _accept(self, name: str) -> None:
        link = self.links[name]
        self._say("shift", f"worker {name} takes traffic")
        link.send(AcceptTraffic())
        link.expect(ACKNOWLEDGE_S, lambda: self._late(link, f"did not accept within {ACKNOWLEDGE_S:g} s"))

    def _lame_duck(self, name: str) -> None:
        link = self.links[name]
        self._say("drain", f"worker {name} finishes what it has")
        deadline_s = self._revisions[link.worker.revision].config.drain_timeout_s
        link.send(LeaveTraffic(deadline_s))
        link.expect(deadline_s + EXIT_S, link.process.kill)

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
        forget_slots(self.metrics_dir, number - KEPT_REVISIONS)
        kept = self._listeners[number]
        for listener in {id(found): found for found in self._listeners.values()}.values():
            if listener is not kept:
                listener.close()
        self._listeners = {number: kept}
        self._revisions = {number: self._revisions[number]}
        self._answer(number, promoted=True, reason=None)

    def _answer(self, number: int, *, promoted: bool, reason: str | None) -> None:
        if self._outcome is None or self._outcome.done():
            return
        proof = next((found for name, found in self._proofs.items() if _failed(found)), None)
        self._outcome.set_result(
            Deployed(
                revision=self._revisions[number],
                promoted=promoted,
                url=self.url,
                proof=proof or next(iter(self._proofs.values()), ()),
                reason=reason,
                duration_ms=self._elapsed_ms(),
            )
        )

    # --- hearing ---

    def _heard(self, link: WorkerLink, report: ToSupervisor) -> None:
        match report:
            case Loaded(load_ms):
                self._say("prove", f"worker {link.name} loaded the model in {load_ms:.0f} ms")
                self.observe(seen.Reached(link.name, WorkerState.LOADED))
            case Gated():
                self._judge(link, report)
            case Accepting():
                self._accepted(link)
            case LameDucked():
                self.observe(seen.Reached(link.name, WorkerState.LAME_DUCK))
            case Drained():
                self.observe(seen.Reached(link.name, WorkerState.DRAINED))
            case CannotServe(reason):
                self.observe(seen.Failed(link.name, f"worker {link.name}: {reason}"))

    def _accepted(self, link: WorkerLink) -> None:
        link.expect_nothing()
        link.accepting_since = self._around.clock.monotonic()
        if link.worker.index in dict(self.state.crashes):
            self._record.note(EventKind.WORKER_READY, link.worker.revision, worker=link.name, pid=link.process.pid)
        self.observe(seen.Reached(link.name, WorkerState.ACCEPTING))

    def _judge(self, link: WorkerLink, report: Gated) -> None:
        """Hold a worker's proof and its memory against what its revision allows."""
        link.expect_nothing()
        revision = self._revisions[link.worker.revision]
        findings, denial = judge(report.findings, self._around.facts.process(link.process.pid), revision)
        self._proofs[link.name] = findings
        if denial is None:
            self._say("prove", f"worker {link.name} is proven: {_count(len(findings), 'check')}")
            self.observe(seen.Reached(link.name, WorkerState.GATED))
        else:
            self.observe(seen.Failed(link.name, f"worker {link.name} failed its proof: {denial}"))

    def _late(self, link: WorkerLink, what: str) -> None:
        self.observe(seen.Failed(link.name, f"worker {link.name} {what}"))

    def _gone(self, link: WorkerLink, reason: str) -> None:
        self.links.pop(link.name, None)
        retire_slot(self.metrics_dir, link.name)
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
        """Close the socket of a revision that was aborted and has no worker left, where no other uses it."""
        rollout = self.state.rollout
        if revision == self.state.active or self.state.of(revision) or self.state.updating or rollout is None:
            return
        listener = self._listeners.pop(revision, None)
        if listener is not None and listener not in self._listeners.values():
            listener.close()

    # --- small things ---

    def _take_in(self, revision: Revision, listener: socket.socket) -> None:
        self._revisions[revision.number] = revision
        self._listeners[revision.number] = listener
        self._proofs.clear()

    def _end_if_empty(self) -> None:
        """A deployment without workers ends where it was told to, or where nothing of it was ever promoted."""
        state = self.state
        if self._ended.is_set() or state.workers or self._advancing or self._observations:
            return
        aborted = state.rollout is not None and state.rollout.state is RolloutState.ABORTED
        if state.stopping or (state.active is None and aborted):
            self._close_listeners()
            self._ended.set()
            self._on_ended(self)

    def _close_listeners(self) -> None:
        for listener in self._listeners.values():
            listener.close()
        self._listeners.clear()

    def _say(self, stage: str, message: str) -> None:
        self._tell(Progress(stage=stage, message=message))

    def _elapsed_ms(self) -> int:
        return round(1000 * (self._around.clock.monotonic() - self._began_s))


def _tell_nobody(_progress: Progress) -> None:
    """Where no client follows."""


def _failed(findings: tuple[Finding, ...]) -> bool:
    return any(finding.outcome is Outcome.FAILED for finding in findings)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
