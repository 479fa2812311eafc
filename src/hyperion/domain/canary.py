"""A canary: a growing share of the requests goes to the candidates, and the gates must hold at each step."""

from __future__ import annotations

from dataclasses import replace

from hyperion.domain.action import Judge, OpenFrames, Route, WriteStep
from hyperion.domain.crew import CRASH_LIMIT
from hyperion.domain.evidence import Verdict, VerdictKind
from hyperion.domain.observation import Routed
from hyperion.domain.serving_state import Rollout, RolloutState, ServingState, Step
from hyperion.domain.shifting import abort, begin_shift
from hyperion.domain.worker_state import Worker, WorkerState


def open_doors(state: ServingState, rollout: Rollout) -> Step:
    """The candidates are proven: let them answer what is forwarded to them. Spares are not needed for that."""
    state = replace(state, rollout=replace(rollout, state=RolloutState.OPENING))
    answering = state.of(rollout.revision)[: rollout.plan.size]
    return state, tuple(OpenFrames(worker.name) for worker in answering)


def opened(state: ServingState) -> Step:
    """Ask for the first step once as many candidates answer as will take traffic."""
    rollout = state.rollout
    if rollout is None or rollout.state is not RolloutState.OPENING:
        return state, ()
    answering = [w for w in state.of(rollout.revision) if w.state is WorkerState.CANARY]
    return _ask_step(state, rollout, 0) if len(answering) == rollout.plan.size else (state, ())


def _ask_step(state: ServingState, rollout: Rollout, step: int) -> Step:
    rollout = replace(rollout, state=RolloutState.CANARY, step=step, routed=frozenset(), is_judged=False)
    return replace(state, rollout=rollout), (WriteStep(rollout.revision, step, rollout.share),)


def step_written(state: ServingState) -> Step:
    """The step is durable: route its share at every worker that takes traffic."""
    rollout = state.rollout
    if rollout is None or rollout.state is not RolloutState.CANARY:
        return state, ()
    taking = state.accepting(state.active)
    return state, tuple(Route(worker.name, rollout.revision, rollout.share) for worker in taking)


def joined(state: ServingState, worker: Worker) -> Step:
    """A worker of the stable revision takes traffic from now on: it forwards its share, too."""
    rollout = state.rollout
    if rollout is None or rollout.state is not RolloutState.CANARY or worker.revision != state.active:
        return state, ()
    return state, (Route(worker.name, rollout.revision, rollout.share),)


def routed(state: ServingState, confirmed: Routed) -> Step:
    """A worker forwards the share."""
    rollout = state.rollout
    if rollout is None or (confirmed.revision, confirmed.share) != (rollout.revision, rollout.share):
        return state, ()
    rollout = replace(rollout, routed=rollout.routed | {confirmed.worker})
    return judge_if_routed(replace(state, rollout=rollout))


def judge_if_routed(state: ServingState) -> Step:
    """Begin the step's bake once every worker that takes traffic forwards the share."""
    rollout = state.rollout
    if rollout is None or rollout.state is not RolloutState.CANARY or rollout.is_judged or state.active is None:
        return state, ()
    taking = {worker.name for worker in state.accepting(state.active)}
    if not taking or not taking <= rollout.routed:
        return state, ()
    return replace(state, rollout=replace(rollout, is_judged=True)), (Judge(rollout.revision, state.active),)


def judge_step(state: ServingState, verdict: Verdict) -> Step:
    """Abort on a breach; go on to the next step, or to all traffic, once the gates held for the whole bake."""
    rollout = state.rollout
    if rollout is None or rollout.state is not RolloutState.CANARY or not rollout.is_judged:
        return state, ()
    match verdict.kind:
        case VerdictKind.BREACH:
            return abort(state, verdict.reason, verdict)
        case VerdictKind.HOLD:
            return state, ()
    rollout = replace(rollout, held=verdict)
    if rollout.step + 1 < len(rollout.plan.steps):
        return _ask_step(state, rollout, rollout.step + 1)
    return begin_shift(state, rollout)


def skip_if_alone(state: ServingState) -> Step:
    """Where the stable revision serves no more and was given up, the proven candidates take all traffic."""
    rollout = state.rollout
    if rollout is None or rollout.state not in (RolloutState.OPENING, RolloutState.CANARY):
        return state, ()
    is_given_up = len([index for index, crashes in state.crashes if crashes >= CRASH_LIMIT]) >= state.size
    return begin_shift(state, rollout) if is_given_up and not state.taking(state.active) else (state, ())
