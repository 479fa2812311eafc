"""Rollouts as a pure state machine: what was observed → the next state and what to do.

Workers go SPAWNED → LOADED → GATED → ACCEPTING → LAME_DUCK → DRAINED → EXITED; a rollout goes
PLANNED → PROVING → SHIFTING → DRAINING → PROMOTED, or ends ABORTED before anything irrevocable was done.

The order is the promise: a candidate is proven before it takes traffic, all its workers take traffic before the
decision is made durable (the one ledger write on the path of a switch), and only then do the old ones leave.
So as long as no worker dies by itself, some ready worker of a revision that was not aborted takes traffic.
"Serving" and "updating" are two separate facts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from hyperion.domain.action import Abort, Accept, Action, Finish, GiveUp, Kill, LameDuck, Promote, RespawnLater, Spawn
from hyperion.domain.observation import (
    Exited,
    Failed,
    Observation,
    PromotionRefused,
    PromotionWritten,
    Reached,
    RespawnDue,
    Resumed,
    RolloutAsked,
    StopAsked,
)
from hyperion.domain.worker_state import Worker, WorkerState, worker_name

CRASH_LIMIT = 5
"""Crashes in a row after which a worker's slot is given up."""
STEADY_S = 30.0
"""A worker that took traffic for this long starts its count of crashes anew."""
LONGEST_BACKOFF_S = 10.0


class RolloutState(StrEnum):
    PLANNED = "planned"
    PROVING = "proving"
    SHIFTING = "shifting"
    """The candidate's workers are told to take traffic; the old ones still take it."""
    DRAINING = "draining"
    """The decision is durable; the old workers finish."""
    PROMOTED = "promoted"
    ABORTED = "aborted"


@dataclass(frozen=True, slots=True)
class Rollout:
    """Moving a deployment from its active revision to ``revision``."""

    revision: int
    size: int
    state: RolloutState = RolloutState.PLANNED
    reason: str | None = None

    @property
    def ended(self) -> bool:
        return self.state in (RolloutState.PROMOTED, RolloutState.ABORTED)


@dataclass(frozen=True, slots=True)
class ServingState:
    """One deployment as its supervisor sees it.

    Attributes:
        active: Revision that receives traffic by default and is kept alive.
        size: Workers that the active revision should have.
        rollout: The latest one; None before the first.
        workers: All that live, in the order of their start.
        crashes: Crashes in a row of the active revision's workers, by index.
        stopping: Whether the deployment was told to stop.
    """

    active: int | None = None
    size: int = 0
    rollout: Rollout | None = None
    workers: tuple[Worker, ...] = ()
    crashes: tuple[tuple[int, int], ...] = ()
    stopping: bool = False

    @property
    def serving(self) -> bool:
        return any(worker.state is WorkerState.ACCEPTING for worker in self.workers)

    @property
    def updating(self) -> bool:
        return self.rollout is not None and not self.rollout.ended

    def worker(self, name: str) -> Worker | None:
        return next((worker for worker in self.workers if worker.name == name), None)

    def of(self, revision: int) -> tuple[Worker, ...]:
        return tuple(worker for worker in self.workers if worker.revision == revision)


Step = tuple[ServingState, tuple[Action, ...]]


def advance(state: ServingState, observation: Observation) -> Step:
    """The next state and what to do, in order.

    Observations that no longer concern anything (a late message of a worker that was given up) change nothing.
    """
    match observation:
        case Resumed(revision, size):
            return _spawn_all(replace(state, active=revision, size=size), revision, size)
        case RolloutAsked(revision, size):
            rollout = Rollout(revision, size, RolloutState.PROVING)
            return _spawn_all(replace(state, rollout=rollout), revision, size)
        case Reached(name, reached):
            worker = state.worker(name)
            return (state, ()) if worker is None else _reached(state, worker, reached)
        case Failed(name, reason):
            worker = state.worker(name)
            return (state, ()) if worker is None else _failed(state, worker, reason)
        case Exited(name, reason, accepted_s):
            worker = state.worker(name)
            return (state, ()) if worker is None else _exited(state, worker, reason, accepted_s)
        case RespawnDue(revision, index):
            if state.stopping or revision != state.active or state.worker(worker_name(revision, index)):
                return state, ()
            return _spawn(state, revision, index)
        case PromotionWritten():
            return _promoted(state)
        case PromotionRefused(reason):
            return _abort(state, reason)
        case StopAsked():
            pass
    return _stop(state, observation.reason)


def backoff_s(crashes: int) -> float:
    """Pause before the respawn after so many crashes in a row: none, then 0.2 s doubling up to a limit."""
    return 0.0 if crashes <= 1 else min(LONGEST_BACKOFF_S, 0.1 * 2 ** (crashes - 1))


def _spawn(state: ServingState, revision: int, index: int) -> Step:
    workers = (*state.workers, Worker(revision, index))
    return replace(state, workers=workers), (Spawn(revision, index),)


def _spawn_all(state: ServingState, revision: int, size: int) -> Step:
    actions: list[Action] = []
    for index in range(size):
        state, spawned = _spawn(state, revision, index)
        actions += spawned
    return state, tuple(actions)


def _put(state: ServingState, worker: Worker) -> ServingState:
    return replace(state, workers=tuple(worker if w.name == worker.name else w for w in state.workers))


def _candidate(state: ServingState, worker: Worker) -> Rollout | None:
    """The rollout that this worker is a candidate of, as long as it can still be aborted."""
    rollout = state.rollout
    if rollout is None or rollout.revision != worker.revision:
        return None
    return rollout if rollout.state in (RolloutState.PROVING, RolloutState.SHIFTING) else None


def _reached(state: ServingState, worker: Worker, reached: WorkerState) -> Step:
    if worker.state in (WorkerState.LAME_DUCK, WorkerState.DRAINED) and reached is not WorkerState.DRAINED:
        return state, ()  # it was told to leave while this message was under way
    worker = replace(worker, state=reached, told=worker.told and reached is not WorkerState.ACCEPTING)
    state = _put(state, worker)
    if reached is WorkerState.GATED:
        return _gated(state, worker)
    if reached is WorkerState.ACCEPTING:
        return _accepting(state, worker)
    return state, ()


def _gated(state: ServingState, worker: Worker) -> Step:
    rollout = _candidate(state, worker)
    if rollout is None:
        if worker.revision != state.active:
            return state, ()
        return _put(state, replace(worker, told=True)), (Accept(worker.name),)
    candidates = state.of(rollout.revision)
    if any(candidate.state is not WorkerState.GATED for candidate in candidates):
        return state, ()
    state = replace(state, rollout=replace(rollout, state=RolloutState.SHIFTING))
    for candidate in candidates:
        state = _put(state, replace(candidate, told=True))
    return state, tuple(Accept(candidate.name) for candidate in candidates)


def _accepting(state: ServingState, worker: Worker) -> Step:
    rollout = _candidate(state, worker)
    if rollout is None:
        return state, ()
    ready = all(candidate.state is WorkerState.ACCEPTING for candidate in state.of(rollout.revision))
    return state, ((Promote(rollout.revision),) if ready else ())


def _promoted(state: ServingState) -> Step:
    rollout = state.rollout
    if rollout is None or rollout.state is not RolloutState.SHIFTING:
        return state, ()
    rollout = replace(rollout, state=RolloutState.DRAINING)
    state = replace(state, active=rollout.revision, size=rollout.size, rollout=rollout, crashes=())
    state, actions = _dismiss(state, [worker for worker in state.workers if worker.revision != rollout.revision])
    state, finish = _finish_if_alone(state)
    return state, (*actions, *finish)


def _finish_if_alone(state: ServingState) -> Step:
    rollout = state.rollout
    if rollout is None or rollout.state is not RolloutState.DRAINING:
        return state, ()
    if any(worker.revision != rollout.revision for worker in state.workers):
        return state, ()
    return replace(state, rollout=replace(rollout, state=RolloutState.PROMOTED)), (Finish(rollout.revision),)


def _dismiss(state: ServingState, workers: list[Worker]) -> Step:
    """Send workers away: those that may hold connections as lame ducks, the others at once."""
    actions: list[Action] = []
    for worker in workers:
        if worker.state is WorkerState.ACCEPTING or worker.told:
            actions.append(LameDuck(worker.name))
            state = _put(state, replace(worker, state=WorkerState.LAME_DUCK, told=False))
        elif worker.state not in (WorkerState.LAME_DUCK, WorkerState.DRAINED):
            actions.append(Kill(worker.name))
    return state, tuple(actions)


def _abort(state: ServingState, reason: str) -> Step:
    rollout = state.rollout
    if rollout is None or rollout.state not in (RolloutState.PROVING, RolloutState.SHIFTING):
        return state, ()
    aborted = replace(rollout, state=RolloutState.ABORTED, reason=reason)
    state, actions = _dismiss(replace(state, rollout=aborted), list(state.of(rollout.revision)))
    return state, (*actions, Abort(rollout.revision, reason))


def _failed(state: ServingState, worker: Worker, reason: str) -> Step:
    if _candidate(state, worker) is not None:
        return _abort(state, reason)
    return state, (Kill(worker.name),)


def _exited(state: ServingState, worker: Worker, reason: str, accepted_s: float) -> Step:
    rollout = _candidate(state, worker)
    state = replace(state, workers=tuple(w for w in state.workers if w.name != worker.name))
    if rollout is not None:
        return _abort(state, reason)
    state, finish = _finish_if_alone(state)
    if finish or state.stopping or worker.revision != state.active:
        return state, finish
    counts = dict(state.crashes)
    crashes = 1 if accepted_s >= STEADY_S else counts.get(worker.index, 0) + 1
    counts[worker.index] = crashes
    state = replace(state, crashes=tuple(counts.items()))
    if crashes >= CRASH_LIMIT:
        return state, (GiveUp(worker.name, crashes, reason),)
    return state, (RespawnLater(worker.revision, worker.index, backoff_s(crashes)),)


def _stop(state: ServingState, reason: str) -> Step:
    state, aborting = _abort(replace(state, stopping=True), reason)
    state, leaving = _dismiss(state, list(state.workers))
    told = {action for action in aborting if isinstance(action, Kill)}
    return state, (*aborting, *(action for action in leaving if action not in told))
