"""Rollouts as a pure state machine: what was observed → the next state and what to do.

A candidate is proven before it takes traffic, all its workers take traffic before the decision is made durable, and
only then do the old ones leave. So as long as no worker dies by itself, some ready worker of a revision that was not
aborted takes traffic; ``recreate`` alone stops the old workers first, on hosts without room for both.
"Serving" and "updating" are two separate facts.
"""

from __future__ import annotations

from dataclasses import replace

from hyperion.domain import canary, renewal, watching
from hyperion.domain.action import Action, Flip, Judge, KeepWarm, Kill, Route
from hyperion.domain.crew import (
    dismiss,
    fill_places,
    is_kept_alive,
    lay_to_rest,
    remove,
    replace_lost,
    spawn,
    spawn_missing,
)
from hyperion.domain.observation import (
    Exited,
    Failed,
    Judged,
    Observation,
    PromotionWritten,
    Reached,
    RecallAsked,
    RespawnDue,
    RestartAsked,
    Resumed,
    RolloutAsked,
    Routed,
    StepWritten,
    StopAsked,
    WarmthOver,
    WriteRefused,
)
from hyperion.domain.rollout_plan import RolloutPlan
from hyperion.domain.serving_state import Rollout, RolloutState, ServingState, Step, in_turn
from hyperion.domain.shifting import abort, begin_shift, promote_if_ready, promoted, restart_stable, settle
from hyperion.domain.worker_state import Worker, WorkerState, worker_name

RECALLABLE = frozenset({RolloutState.PROVING, RolloutState.OPENING, RolloutState.CANARY})


def advance(state: ServingState, observation: Observation) -> Step:
    """The next state and what to do, in order.

    Observations that no longer concern anything (a late message of a worker that was given up) change nothing.
    """
    match observation:
        case Resumed():
            return _resumed(state, observation)
        case RolloutAsked(revision, plan):
            return _asked(state, revision, plan)
        case Reached(name) | Failed(name) | Exited(name):
            worker = state.worker(name)
            return (state, ()) if worker is None else _heard(state, worker, observation)
        case Routed():
            return canary.routed(state, observation)
        case Judged(verdict):
            return watching.judge_watch(state, verdict) if state.watching else canary.judge_step(state, verdict)
        case RespawnDue(revision, index):
            return _respawn(state, revision, index)
        case WarmthOver(revision):
            return dismiss(state, [worker for worker in state.of(revision) if worker.rests])
        case StepWritten() | PromotionWritten() | WriteRefused():
            return _written(state, observation)
        case RestartAsked():
            return renewal.asked(state)
        case RecallAsked(reason):
            return _recall(state, reason)
        case StopAsked():
            return _stop(state, observation.reason)


def _written(state: ServingState, answer: StepWritten | PromotionWritten | WriteRefused) -> Step:
    """What the ledger said."""
    match answer:
        case StepWritten():
            return canary.step_written(state)
        case PromotionWritten():
            return promoted(state)
        case WriteRefused(reason):
            return abort(state, reason)


# --- what is asked ---


def _resumed(state: ServingState, resumed: Resumed) -> Step:
    """Keep the adopted workers of the active revision, and those of the one before it warm; all others leave.

    What an earlier supervisor began after the promotion goes on: the watch, or the way back.
    """
    if _was_cut_off(resumed):
        return _go_through(state, resumed)
    plan, active = resumed.plan, resumed.revision
    state = replace(
        state,
        active=active,
        size=plan.size,
        spare=plan.spare,
        previous=resumed.replaced if plan.automatic and not plan.rescue else None,
        workers=resumed.adopted,
    )
    state, flips = _take_over(state, active, plan)
    is_canary = any(worker.state is WorkerState.CANARY for worker in resumed.adopted)
    unrouted = [Route(worker.name, active, 0.0) for worker in state.accepting(active) if is_canary]
    late = state.accepting(resumed.replaced) if plan.warm_s else ()
    kept = [*late, *(worker for worker in state.of(resumed.replaced) if worker.rests)]
    stray = [worker for worker in state.workers if worker.revision != active and worker not in kept]
    state, following = in_turn(
        state,
        lambda state: lay_to_rest(state, late),
        lambda state: dismiss(state, stray),
        fill_places,
        lambda state: spawn_missing(state, active, plan.crew),
        lambda state: _go_on(state, resumed),
    )
    warm = [KeepWarm(worker.revision, plan.warm_s) for worker in kept[:1]]
    return state, (*unrouted, *flips, *warm, *following)


def _was_cut_off(resumed: Resumed) -> bool:
    """Whether a switch is decided, and yet only what it replaces takes traffic."""
    taking = {worker.revision for worker in resumed.adopted if worker.state is WorkerState.ACCEPTING}
    return resumed.leaves is None and resumed.replaced in taking and resumed.revision not in taking


def _go_through(state: ServingState, resumed: Resumed) -> Step:
    """Switch again: what is replaced serves until the revision does, with its warm workers where they live."""
    state = replace(state, active=resumed.replaced, workers=resumed.adopted)
    state = replace(state, size=len(state.accepting(resumed.replaced)))
    return _asked(state, resumed.revision, replace(resumed.plan, steps=()))


def _go_on(state: ServingState, resumed: Resumed) -> Step:
    if resumed.leaves is not None:
        return watching.go_back(state, resumed.leaves)
    if not resumed.watch_s or resumed.replaced is None:
        return state, ()
    plan = replace(resumed.plan, watch_s=resumed.watch_s)
    watched = Rollout(resumed.revision, plan, resumed.replaced, RolloutState.BAKING, is_judged=True)
    return replace(state, rollout=watched), (Judge(resumed.revision, resumed.replaced),)


def _asked(state: ServingState, revision: int, plan: RolloutPlan) -> Step:
    state, ended = watching.end_watch(state, f"revision {revision} was asked for")
    warm = _warm(state, plan)
    if not warm:
        plan = replace(plan, flips=None)
    rollout = Rollout(revision, plan, stable=state.active)
    state = replace(state, renewing=())
    if warm:
        state = replace(state, rollout=replace(rollout, state=RolloutState.SHIFTING))
        state, actions = _take_over(state, revision, plan)
    elif plan.recreate and state.of(state.active):
        state = replace(state, rollout=replace(rollout, state=RolloutState.CLEARING))
        state, actions = dismiss(state, state.workers)
    else:
        state, actions = _prove(state, rollout)
    return state, (*ended, *actions)


def _warm(state: ServingState, plan: RolloutPlan) -> list[Worker]:
    """Of the revision that the plan flips; none where it flips none."""
    return [] if plan.flips is None else [worker for worker in state.of(plan.flips) if worker.rests]


def _take_over(state: ServingState, revision: int, plan: RolloutPlan) -> Step:
    """Warm workers are proven already: under a new name they are only told to take traffic, where places are free."""
    free = [index for index in range(plan.size) if state.worker(worker_name(revision, index)) is None]
    actions: list[Action] = []
    for index, worker in zip(free, _warm(state, plan), strict=False):
        flipped = Worker(revision, index, WorkerState.GATED, told=True)
        state = replace(state, workers=tuple(flipped if w.name == worker.name else w for w in state.workers))
        actions.append(Flip(worker.name, revision, index))
    return state, tuple(actions)


def _prove(state: ServingState, rollout: Rollout) -> Step:
    state = replace(state, rollout=replace(rollout, state=RolloutState.PROVING))
    return spawn_missing(state, rollout.revision, rollout.plan.crew)


def _respawn(state: ServingState, revision: int, index: int) -> Step:
    lost = Worker(revision, index)
    if not is_kept_alive(state, lost) or state.worker(lost.name) is not None:
        return state, ()
    return spawn(state, revision, index)


def _recall(state: ServingState, reason: str) -> Step:
    """Abort what has not begun to shift; a rescue goes on, and so does what has stopped the old workers already."""
    rollout = state.rollout
    if rollout is None or rollout.state not in RECALLABLE or rollout.plan.rescue or rollout.plan.recreate:
        return state, ()
    return abort(state, reason)


def _stop(state: ServingState, reason: str) -> Step:
    state, ending = in_turn(
        replace(state, stopping=True),
        lambda state: watching.end_watch(state, reason),
        lambda state: abort(state, reason),
    )
    state, leaving = dismiss(state, state.workers)
    return state, (*ending, *(action for action in leaving if action not in ending))


# --- what became of a worker ---


def _heard(state: ServingState, worker: Worker, observation: Reached | Failed | Exited) -> Step:
    match observation:
        case Reached(_, reached):
            return _reached(state, worker, reached)
        case Failed(_, reason):
            return _failed(state, worker, reason)
        case Exited(_, reason, accepted_s):
            return _exited(state, worker, reason, accepted_s)


def _candidate(state: ServingState, worker: Worker) -> Rollout | None:
    """The rollout that this worker is a candidate of, as long as it can still be aborted."""
    rollout = state.rollout
    return rollout if rollout is not None and rollout.reversible and rollout.revision == worker.revision else None


def _reached(state: ServingState, worker: Worker, reached: WorkerState) -> Step:
    """Take a report in; one that crossed an order to leave, or to come back, says nothing any more."""
    match reached:
        case WorkerState.LOADED if worker.state is WorkerState.SPAWNED:
            return state.put(replace(worker, state=reached)), ()
        case WorkerState.GATED if worker.state in (WorkerState.SPAWNED, WorkerState.LOADED):
            return _gated(state.put(replace(worker, state=reached)), worker)
        case WorkerState.CANARY if worker.state is WorkerState.GATED:
            return canary.opened(state.put(replace(worker, state=reached)))
        case WorkerState.ACCEPTING if worker.takes_traffic:
            accepting = replace(worker, state=reached, told=False)
            return _accepting(state.put(accepting), accepting)
        case WorkerState.LAME_DUCK if worker.leaves or worker.rests:
            return settle(state.put(replace(worker, told=False)))
        case WorkerState.DRAINED if worker.leaves:
            return settle(state.put(replace(worker, state=reached, told=False)))
        case WorkerState.WARM if worker.rests:
            return settle(state.put(replace(worker, state=reached, told=False)))
    return state, ()


def _gated(state: ServingState, worker: Worker) -> Step:
    rollout = _candidate(state, worker)
    if rollout is None:
        return in_turn(state, fill_places, renewal.go_on) if is_kept_alive(state, worker) else (state, ())
    if any(candidate.state is not WorkerState.GATED for candidate in state.of(rollout.revision)):
        return state, ()
    if rollout.plan.steps and state.accepting(state.active):
        return canary.open_doors(state, rollout)
    return begin_shift(state, rollout)


def _accepting(state: ServingState, worker: Worker) -> Step:
    rollout = _candidate(state, worker)
    if rollout is not None:
        return promote_if_ready(state, rollout)
    return in_turn(state, lambda state: canary.joined(state, worker), renewal.go_on)


def _failed(state: ServingState, worker: Worker, reason: str) -> Step:
    rollout = _candidate(state, worker)
    if rollout is not None and rollout.plan.flips is None:
        return abort(state, reason)
    if rollout is not None:  # what it still says while it is killed must not promote it
        state = state.put(replace(worker, state=WorkerState.LAME_DUCK, told=False))
    return state, (Kill(worker.name),)


def _exited(state: ServingState, worker: Worker, reason: str, accepted_s: float) -> Step:
    rollout, kept = _candidate(state, worker), is_kept_alive(state, worker)
    state = remove(state, worker)
    if rollout is not None:
        return _lost_candidate(state, rollout, reason)
    if not kept:
        return _one_less(state)
    if (renewed := renewal.left(state, worker)) is not None:
        return renewed
    state, actions = replace_lost(state, worker, reason, accepted_s)
    state, following = in_turn(
        state,
        canary.judge_if_routed,
        canary.skip_if_alone,
        lambda state: watching.crashed(state, worker.index, reason),
    )
    return state, (*actions, *following)


def _lost_candidate(state: ServingState, rollout: Rollout, reason: str) -> Step:
    """Abort; but a rescue whose warm workers die goes on with those that live, else with new ones."""
    if rollout.plan.flips is None:
        return abort(state, reason)
    if state.of(rollout.revision):
        return promote_if_ready(state, rollout)
    return _prove(state, replace(rollout, plan=replace(rollout.plan, flips=None)))


def _one_less(state: ServingState) -> Step:
    """A worker that was to go has gone: what waited for that goes on."""
    rollout = state.rollout
    if rollout is not None and rollout.state is RolloutState.CLEARING and not state.workers:
        return _prove(state, rollout)
    return in_turn(state, settle, restart_stable)
