"""One deployment in the supervisor: observes its workers, asks the rollout rules, and does what they say."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from datetime import datetime, timedelta
from socket import socket
from typing import Any

from hyperion.domain import action as act
from hyperion.domain import observation as seen
from hyperion.domain.command import Deployed, Until
from hyperion.domain.confinement import Protection
from hyperion.domain.deployment import Revision
from hyperion.domain.event import EventKind
from hyperion.domain.evidence import Verdict
from hyperion.domain.rollout import advance
from hyperion.domain.serving_state import RolloutState, ServingState
from hyperion.domain.worker_state import WorkerState
from hyperion.errors import HyperionError
from hyperion.serving.admission import revision_like
from hyperion.serving.bakes import Bakes
from hyperion.serving.flip import plan_of, takes_over
from hyperion.serving.following import Followers, Tell
from hyperion.serving.lineage import Lineage
from hyperion.serving.orders import give
from hyperion.serving.reconciliation import Found
from hyperion.serving.record import DeploymentRecord, begin_rollout
from hyperion.serving.surroundings import Surroundings
from hyperion.serving.telemetry import forget_slots
from hyperion.serving.wording import count
from hyperion.serving.worker_link import WorkerLink
from hyperion.serving.worker_set import WorkerSet

KEPT_REVISIONS = 20
"""So many replaced revisions stay in /metrics."""
SUPERVISOR = "supervisor"
"""The actor of what nobody asked for."""


class RunningDeployment:
    """A deployment with workers.

    Args:
        name: The deployment's name.
        surroundings: Ports.
        listen: Opens the socket of a revision that has one of its own.
        on_ended: Called once, when nothing of it runs any more.
    """

    def __init__(
        self,
        name: str,
        surroundings: Surroundings,
        listen: Callable[[Revision], socket],
        on_ended: Callable[[RunningDeployment], None],
    ) -> None:
        self.name = name
        self.state = ServingState()
        self.trouble: str | None = None
        self.alert: str | None = None
        """What happened that nobody asked for, until the next rollout that somebody asks for."""
        self.warm_until: datetime | None = None
        self.workers = WorkerSet(
            name,
            surroundings,
            observe=self.observe,
            say=self._say,
            on_accepting=self._accepting,
            on_gone=self._gone,
            on_replayed=self._replayed,
            on_confined=self._confined,
        )
        self._around = surroundings
        self._record = DeploymentRecord(surroundings.ledger, name)
        self._listen = listen
        self._on_ended = on_ended
        self._lineage = Lineage()
        self._observations: deque[seen.Observation] = deque()
        self._advancing = False
        self._stop_recorded = False
        self._confined_revisions: set[int] = set()
        self._ended = asyncio.Event()
        self._followers = Followers()
        self._bakes = Bakes(self.workers, surroundings.clock, self.observe, self._say)
        self._began_s = 0.0
        self._decided: int | None = None
        """The revision whose promotion the ledger held before its workers took traffic."""
        self._chores: list[Callable[[], None]] = []

    # --- what the supervisor asks ---

    @property
    def active(self) -> Revision | None:
        """The revision that receives traffic by default."""
        return self._lineage.get(self.state.active)

    @property
    def warm(self) -> Revision | None:
        """The replaced revision that stays loaded; None where none does."""
        return self._lineage.get(self.state.warm)

    @property
    def url(self) -> str | None:
        return self._lineage.url(self.state.active)

    @property
    def gates(self) -> str | None:
        """What the gates say at the moment; None where nothing is judged."""
        return self._bakes.latest

    def guard_faults(self, revision: Revision) -> tuple[str, ...]:
        """What of its keys and certificates could not be read anew, and which keys expire or did."""
        guards = self._around.guards
        return (*guards.faults(revision.config.serve), *guards.ends_of_keys(revision))

    def listener_for(self, revision: Revision) -> socket | None:
        """The socket of the active revision, where the new one listens at the same place."""
        return self._lineage.shared(self.state.active, revision)

    def resume(self, found: Found, listener: socket) -> None:
        """Serve a revision that was promoted before this supervisor started, with the workers that it finds."""
        for survivor, theirs in found.survivors:
            self._lineage.add(theirs, listener)
            self.workers.adopt(survivor, theirs)
        revision = found.revision
        self._take_in(revision, listener)
        workers = tuple(survivor.worker for survivor, _ in found.survivors)
        moved = any(
            theirs.number == revision.replaces and theirs.config.serve.address != revision.config.serve.address
            for _, theirs in found.survivors
        )
        plan = plan_of(revision, (theirs for survivor, theirs in found.survivors if survivor.worker.rests), moves=moved)
        self._decided = revision.number
        if found.reverted is not None:
            self.alert = f"{found.reverted}; repeat the command to try it again"
        self.observe(seen.Resumed(revision.number, plan, revision.replaces, workers, found.watch_s, found.leaves))

    async def roll_out(self, revision: Revision, listener: socket, tell: Tell, until: Until) -> Deployed:
        """Bring a new revision into service; returns when the rollout has come as far as ``until`` says."""
        answer = self._followers.add(revision, until, tell)
        self._record.actor, self.alert = revision.actor, None
        self._begin(revision, listener)
        self._answer(revision.number, RolloutState.PLANNED)
        return await answer

    def _begin(self, revision: Revision, listener: socket) -> None:
        plan = plan_of(revision, [self.warm], moves=self._lineage.moves(self.state.active, listener))
        self._decided = None if plan.flips is None else revision.number
        self._take_in(revision, listener)
        self._began_s = self._around.clock.monotonic()
        if plan.flips is None:
            self._say("spawn", f"starting {count(plan.crew, 'worker')} of revision {revision.number}")
        else:
            self._say("shift", f"revision {revision.number} takes the warm workers of revision {plan.flips}")
        self.observe(seen.RolloutAsked(revision.number, plan))

    def restart(self) -> None:
        """Replace every worker of the active revision by a fresh one, without a gap."""
        if self.active is not None and self.state.serving and not self.state.updating:
            self._record.note(EventKind.WORKERS_RENEWED, self.active.number)
        self.observe(seen.RestartAsked())

    def recall(self, reason: str) -> None:
        """Abort a rollout whose candidate is still proven or tried; anything else goes on."""
        if self.state.updating:
            self.observe(seen.RecallAsked(reason))

    async def stop(self, *, recorded: bool, reason: str) -> None:
        """Drain and end; ``recorded`` says that the ledger holds the stop already."""
        self._stop_recorded = recorded
        self.observe(seen.StopAsked(reason))
        self._lineage.close()  # new clients are refused from here on, and do not wait for nobody
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
                    if isinstance(action, act.Order):
                        give(action, self.state, self._lineage, self.workers)
                    else:
                        self._act(action)
        finally:
            self._advancing = False
        if self.state.rollout is None or not self.state.rollout.is_judged:
            self._bakes.end()
        if self.active is not None and not self.state.updating:
            self._bakes.remember(self.active.number, self.active.config.gates.watch_s)
        if self._chores and not self.state.flipping:  # whoever was answered just now comes first
            asyncio.get_running_loop().call_soon(self._do_chores)
        self._end_if_empty()

    def _do_chores(self) -> None:
        """What nobody waits for."""
        chores, self._chores = self._chores, []
        for chore in chores:
            chore()

    def _act(self, action: act.Action) -> None:
        match action:
            case act.RespawnLater(revision, index, delay_s):
                again = seen.RespawnDue(revision, index)
                asyncio.get_running_loop().call_later(delay_s, self.observe, again)
            case act.KeepWarm(revision, seconds):
                self.warm_until = self._around.clock.now() + timedelta(seconds=seconds)
                asyncio.get_running_loop().call_later(seconds, self._end_warmth, revision)
            case act.GiveUp(name, crashes, reason):
                self.trouble = f"worker {name} crashed {crashes} times in a row and was given up: {reason}"
                self._record.note(
                    EventKind.WORKERS_GAVE_UP, self.state.active, worker=name, crashes=crashes, reason=reason
                )
            case act.WriteStep(revision, step, share):
                self._write_step(revision, step, share)
            case act.Judge(revision) if self.state.rollout is not None:
                self._bakes.begin(self.state.rollout, self._lineage[revision].config.gates)
            case act.Promote(revision):
                self._promote(revision)
            case act.Abort(revision):
                self._abort(action)
            case act.Shifted(revision):
                self._shifted(revision)
            case act.GoBack():
                self._go_back(action)
            case act.Alert(revision, verdict):
                self.trouble = f"revision {revision} breaks its gates: {verdict.reason}"
                self._record.alerted(revision, verdict)
            case act.Finish():
                self._finish(action)

    # --- acting ---

    def _write_step(self, number: int, step: int, share: float) -> None:
        """Durable before any request is forwarded; answered before anything else is observed."""
        bake_s = self._lineage[number].config.canary_steps.steps[step].bake_s
        try:
            self._record.canary(number, step, share, bake_s, self._held)
        except HyperionError as error:
            reason = f"the canary's step could not be recorded: {error.message}"
            self._observations.appendleft(seen.WriteRefused(reason))
            return
        self._say("canary", f"{100 * share:g}% of the requests go to revision {number} for {bake_s:g} s")
        self._observations.appendleft(seen.StepWritten())

    @property
    def _held(self) -> Verdict | None:
        """What the gates said when they let the latest step of the canary pass."""
        return None if self.state.rollout is None else self.state.rollout.held

    def _promote(self, number: int) -> None:
        """The one durable write on the path of a switch; answered before anything else is observed."""
        try:
            if number != self._decided:
                self._record.promoted(number, self.state.active, self._elapsed_ms(), self._held, self.workers.proof)
        except HyperionError as error:
            reason = f"the promotion could not be recorded: {error.message}"
            self._observations.appendleft(seen.WriteRefused(reason))
            return
        self.trouble = None
        self._lineage.open_to(number)
        self._say("promote", f"revision {number} is active")
        self._observations.appendleft(seen.PromotionWritten())

    def _abort(self, abort: act.Abort) -> None:
        number, active, rollout = abort.revision, self.state.active, self.state.rollout
        self._say("abort", abort.reason)
        if active is not None and rollout is not None and rollout.plan.recreate:
            self._say("abort", f"revision {active} was stopped for this and is started again")
        fault = self._record.aborted(abort, active, self._elapsed_ms(), stopped=self._stop_recorded)
        if self.alert is not None:
            fault = f"{self.alert}, but the way back was aborted: {abort.reason}"
        self.trouble = fault or self.trouble
        self._answer(number, RolloutState.ABORTED, abort.reason)

    def _shifted(self, number: int) -> None:
        warm, duration_ms = self.state.warm, self._elapsed_ms()
        self._chores += [
            self._around.ledger.tidy,
            lambda: self._record.note(EventKind.ROLLOUT_SHIFTED, number, duration_ms=duration_ms, warm=warm),
            lambda: forget_slots(self.workers.metrics_dir, number - KEPT_REVISIONS),
        ]
        self._lineage.keep_open({number, warm})
        if self.state.watching:
            self._say("watch", f"revision {number} has all traffic and is watched")
            self._answer(number, RolloutState.BAKING)

    def _go_back(self, back: act.GoBack) -> None:
        """Write down why, then make a revision like the one before and roll it out."""
        self._say("return", f"going back from revision {back.revision} to what revision {back.to} was: {back.reason}")
        self._record.actor = SUPERVISOR
        reason = self.alert = f"revision {back.revision} was left by the supervisor: {back.reason}"
        try:
            self._record.rolled_back(back)
            target = self._around.ledger.revision(self.name, back.to)
            revision = revision_like(target, self._around.ledger, self._around.clock, actor=SUPERVISOR, reason=reason)
            listener = self.listener_for(revision) or self._listen(revision)
            begin_rollout(self._around.ledger, revision, flips=takes_over(revision, self.warm))
        except HyperionError as error:
            self.trouble = f"{reason}, but the way back could not be begun: {error.message}"
            self._answer(back.revision, RolloutState.ROLLED_BACK, self.trouble)
            return
        left_after_ms, proof = self._elapsed_ms(), self.workers.proof
        self._followers.follow_back(back.revision, revision.number, back.reason, left_after_ms, proof)
        self._begin(revision, listener)

    def _finish(self, finish: act.Finish) -> None:
        if finish.note is not None:
            self._say("watch", f"revision {finish.revision} is watched no more: {finish.note}")
            self._chores.append(lambda: self._record.finished(finish))
        self._answer(finish.revision, RolloutState.PROMOTED)

    def _answer(self, number: int, state: RolloutState, reason: str | None = None) -> None:
        """Answer the client that waits for this rollout, where it waits for no more than this."""
        if not self._followers.awaits(number, state):
            return
        active, proof, duration_ms = self.state.active, self.workers.proof, self._elapsed_ms()
        self._followers.answer(number, state, reason, active=active, url=self.url, proof=proof, duration_ms=duration_ms)

    # --- what became of a worker ---

    def _confined(self, link: WorkerLink, protections: tuple[Protection, ...]) -> None:
        """Kept with the revision, once: all its workers come to be on this host in the same way."""
        if link.worker.revision not in self._confined_revisions:
            self._confined_revisions.add(link.worker.revision)
            self._record.confined(link.worker.revision, protections)

    def _replayed(self, worker: str, findings: list[dict[str, Any]]) -> None:
        self._bakes.replayed(worker, findings)

    def _accepting(self, link: WorkerLink) -> None:
        if link.worker.index in dict(self.state.crashes):
            self._record.note(EventKind.WORKER_READY, link.worker.revision, worker=link.name, pid=link.process.pid)
        self.observe(seen.Reached(link.name, WorkerState.ACCEPTING))

    def _gone(self, link: WorkerLink, reason: str) -> None:
        worker = self.state.worker(link.name)
        if worker is not None and not worker.leaves:
            if worker.revision == self.state.active and not self.state.stopping:
                self._record.note(EventKind.WORKER_EXITED, worker.revision, worker=link.name, reason=reason)
            reason = f"{reason} while {worker.state.value}"
        now = self._around.clock.monotonic()
        accepted_s = 0.0 if link.accepting_since is None else now - link.accepting_since
        self.observe(seen.Exited(link.name, reason, accepted_s))
        number = link.worker.revision
        if not self.state.of(number) and (unloaded := self.workers.unloading.unloaded(number)) is not None:
            self._say("drain", f"revision {number} is unloaded: {unloaded}")
            self._record.unloaded(number, unloaded)
        self._forget_unused()

    def _end_warmth(self, number: int) -> None:
        """The time of a revision that was kept warm is over, where it still is."""
        if any(worker.rests for worker in self.state.of(number)):
            self._record.note(EventKind.WARMTH_ENDED, number)
            self.observe(seen.WarmthOver(number))

    def _forget_unused(self) -> None:
        """Close the sockets of revisions that neither serve, nor come into service, nor have a worker left."""
        rollout = self.state.rollout
        used = {worker.revision for worker in self.state.workers} | {self.state.active}
        if rollout is not None and rollout.updating:
            used |= {rollout.revision, rollout.stable}
        self._lineage.keep_only(used)

    # --- small things ---

    def _take_in(self, revision: Revision, listener: socket) -> None:
        self._lineage.add(revision, listener)
        self.workers.forget_proofs()

    def _end_if_empty(self) -> None:
        """A deployment without workers ends where it was told to, or where nothing of it was ever promoted."""
        state = self.state
        if self._ended.is_set() or state.workers or self._advancing or self._observations:
            return
        aborted = state.rollout is not None and state.rollout.state is RolloutState.ABORTED
        if state.stopping or (state.active is None and aborted):
            self._lineage.close()
            self._bakes.close()
            self._ended.set()
            self._on_ended(self)

    def _say(self, stage: str, message: str) -> None:
        self._followers.say(stage, message)

    def _elapsed_ms(self) -> int:
        return round(1000 * (self._around.clock.monotonic() - self._began_s))
