"""From proven candidates to a promoted revision, or back: the order here is the promise of a rollout.

All candidates take traffic before the decision is made durable (the one ledger write on the path of a switch), and
only then do the old workers leave.
"""

from __future__ import annotations

from dataclasses import replace

from hyperion.domain.action import Abort, Action, Finish, Judge, Promote, Route, Shifted
from hyperion.domain.crew import dismiss, rest, spawn_missing, tell_to_accept
from hyperion.domain.evidence import Verdict
from hyperion.domain.serving_state import Rollout, RolloutState, ServingState, Step, in_turn
from hyperion.domain.watching import fall_back
from hyperion.domain.worker_state import WorkerState


def begin_shift(state: ServingState, rollout: Rollout) -> Step:
    """Tell the proven candidates to take traffic; those beyond the size stay as spares."""
    state = replace(state, rollout=replace(rollout, state=RolloutState.SHIFTING, is_judged=False))
    ready = [w for w in state.of(rollout.revision) if w.state in (WorkerState.GATED, WorkerState.CANARY)]
    return tell_to_accept(state, ready[: rollout.plan.size])


def promote_if_ready(state: ServingState, rollout: Rollout) -> Step:
    """Ask for the durable decision once every candidate that was told to take traffic does."""
    taking = state.taking(rollout.revision)
    ready = taking == state.accepting(rollout.revision) and taking
    return state, ((Promote(rollout.revision),) if ready else ())


def promoted(state: ServingState) -> Step:
    """The decision is durable: what was active leaves traffic."""
    rollout = state.rollout
    if rollout is None or rollout.state is not RolloutState.SHIFTING:
        return state, ()
    plan, stable = rollout.plan, state.active
    unrouted = _unrouted(state, rollout)
    state = replace(
        state,
        active=rollout.revision,
        size=plan.size,
        spare=plan.spare,
        previous=stable if plan.automatic and not plan.rescue else None,
        rollout=replace(rollout, state=RolloutState.LEAVING),
        crashes=(),
    )
    older = [worker for worker in state.workers if worker.revision not in (stable, rollout.revision)]
    state, actions = in_turn(
        state,
        lambda state: rest(state, stable, plan.warm_s),
        lambda state: dismiss(state, older),
        lambda state: spawn_missing(state, rollout.revision, plan.crew),
        settle,
    )
    return state, (*unrouted, *actions)


def settle(state: ServingState) -> Step:
    """Begin the watch, or end the rollout, once everything but the new revision has left traffic."""
    rollout = state.rollout
    if rollout is None or rollout.state is not RolloutState.LEAVING:
        return state, ()
    others = [worker for worker in state.workers if worker.revision != rollout.revision]
    if any(w.takes_traffic or (w.told and (w.leaves or w.rests)) for w in others):
        return state, ()
    following: Action = Finish(rollout.revision)
    if rollout.plan.watch_s and rollout.stable is not None:
        following = Judge(rollout.revision, rollout.stable)
        rollout = replace(rollout, state=RolloutState.BAKING, is_judged=True)
    else:
        rollout = replace(rollout, state=RolloutState.PROMOTED)
    state, fallen = fall_back(replace(state, rollout=rollout))
    return state, (Shifted(rollout.revision), following, *fallen)


def abort(state: ServingState, reason: str, verdict: Verdict | None = None) -> Step:
    """End the rollout before anything irrevocable was done: the candidates go, the stable revision serves on."""
    rollout = state.rollout
    if rollout is None or not rollout.reversible:
        return state, ()
    unrouted = _unrouted(state, rollout)
    aborted = replace(rollout, state=RolloutState.ABORTED, is_judged=False, reason=reason)
    state, dismissed = dismiss(replace(state, rollout=aborted), state.of(rollout.revision))
    state, following = in_turn(state, restart_stable, fall_back)
    return state, (*unrouted, *dismissed, Abort(rollout.revision, reason, verdict), *following)


def restart_stable(state: ServingState) -> Step:
    """After a ``recreate`` that was aborted: once the candidates are gone, start again what served before."""
    rollout = state.rollout
    if rollout is None or rollout.state is not RolloutState.ABORTED or not rollout.plan.recreate:
        return state, ()
    if state.stopping or state.active is None or state.of(rollout.revision) or state.of(state.active):
        return state, ()
    return spawn_missing(replace(state, crashes=()), state.active, state.size + state.spare)


def _unrouted(state: ServingState, rollout: Rollout) -> tuple[Route, ...]:
    """End the canary's share at every worker that may forward."""
    if not rollout.plan.steps or rollout.state not in (RolloutState.CANARY, RolloutState.SHIFTING):
        return ()
    return tuple(Route(worker.name, rollout.revision, 0.0) for worker in state.accepting(state.active))
