"""The diagrams of docs/explanation/rollouts.md show what the rules do: every step that they make, and no other."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

from tests.rollout_kit import plan, serving, verdict

from hyperion.domain import action as act
from hyperion.domain import observation as seen
from hyperion.domain.crew import CRASH_LIMIT
from hyperion.domain.evidence import VerdictKind
from hyperion.domain.rollout import advance
from hyperion.domain.rollout_plan import RolloutPlan
from hyperion.domain.rollout_policy import CanaryStep
from hyperion.domain.serving_state import RolloutState, ServingState
from hyperion.domain.worker_state import Worker, WorkerState, worker_name

PAGE = Path(__file__).resolve().parents[2] / "docs" / "explanation" / "rollouts.md"
STEPS = (CanaryStep(share=0.05, bake_s=1.0), CanaryStep(share=0.5, bake_s=1.0))
PLANS = (plan(watch_s=60.0, warm_s=60.0), plan(), plan(steps=STEPS, watch_s=60.0), plan(recreate=True))
BEGIN = "[*]"
Edge = tuple[str, str]


def drawn(heading: str) -> frozenset[Edge]:
    """The arrows of the diagram below a heading."""
    diagram = PAGE.read_text().partition(f"\n## {heading}\n")[2].partition("```mermaid\n")[2].partition("```")[0]
    return frozenset(re.findall(r"^ +(\S+) --> ([^:\s]+)", diagram, re.MULTILINE))


def states(edges: Iterable[Edge]) -> set[str]:
    return {state for edge in edges for state in edge} - {BEGIN}


def leads(edges: frozenset[Edge], start: str, end: str) -> bool:
    """Whether one can go along arrows: one observation may bring several steps."""
    reached, new = {start}, {start}
    while new:
        new = {after for before, after in edges if before in new} - reached
        reached |= new
    return end in reached


@cache
def walked() -> tuple[frozenset[Edge], frozenset[Edge]]:
    """The steps of rollouts and of workers, in all that can happen to a rollout and the rollback that follows it."""
    rollouts: set[Edge] = set()
    workers: set[Edge] = set()
    new = [advance(serving(), seen.RolloutAsked(2, chosen)) for chosen in PLANS]
    rollouts |= {move for state, _ in new for move in _moves_of_rollout(serving(), state)}
    known: set[Hashable] = set()
    while new:
        state, actions = new.pop()
        if (mark := _mark(state, actions)) in known:
            continue
        known.add(mark)
        for observation in _possible(state, actions):
            following = advance(state, observation)
            rollouts |= _moves_of_rollout(state, following[0])
            workers |= _moves_of_workers(state, following)
            if not _is_over(following[0]):
                new.append((_soon_given_up(following[0]), following[1]))
    return frozenset(rollouts), frozenset(workers)


def _is_over(state: ServingState) -> bool:
    """Whether the second rollout is: what follows was seen after the first."""
    rollout = state.rollout
    return rollout is not None and rollout.revision > 2 and not rollout.updating


def _soon_given_up(state: ServingState) -> ServingState:
    """Where a worker crashed twice, as if it had crashed as often as it may: what lies between is the same again."""
    crashes = ((index, CRASH_LIMIT - 1 if count == 2 else count) for index, count in state.crashes)
    return replace(state, crashes=tuple(crashes))


def _writes(actions: tuple[act.Action, ...]) -> tuple[act.Action, ...]:
    return tuple(action for action in actions if isinstance(action, act.WriteStep | act.Promote))


def _possible(state: ServingState, actions: tuple[act.Action, ...]) -> Iterator[seen.Observation]:
    """What can be observed next: the ledger answers before anything else is."""
    if writes := _writes(actions):
        yield seen.StepWritten() if isinstance(writes[0], act.WriteStep) else seen.PromotionWritten()
        yield seen.WriteRefused("disk full")
        return
    for worker in state.workers:
        yield from (seen.Reached(worker.name, report) for report in _reports(worker))
        yield seen.Exited(worker.name, "killed", 0.0)
    yield seen.StopAsked("stop")
    yield seen.RecallAsked("a rollback")
    if (rollout := state.rollout) is None:
        return
    if rollout.is_judged:
        yield from (seen.Judged(verdict(kind)) for kind in (VerdictKind.PASS, VerdictKind.BREACH))
    yield from (seen.Routed(worker.name, rollout.revision, rollout.share) for worker in state.accepting(state.active))
    if state.active is not None and dict(state.crashes).get(0, 0) < CRASH_LIMIT:
        yield seen.RespawnDue(state.active, 0)
    if rollout.revision == 2 and not (state.updating or state.stopping or state.crashes) and state.active is not None:
        yield seen.RolloutAsked(3, RolloutPlan(rescue=True, flips=state.warm))


def _reports(worker: Worker) -> tuple[WorkerState, ...]:
    """What it may say next."""
    told = (WorkerState.ACCEPTING,) if worker.told else ()
    return {
        WorkerState.SPAWNED: (WorkerState.LOADED,),
        WorkerState.LOADED: (WorkerState.GATED,),
        WorkerState.GATED: told or (WorkerState.CANARY,),
        WorkerState.CANARY: told,
        WorkerState.LAME_DUCK: (WorkerState.LAME_DUCK, WorkerState.DRAINED),
        WorkerState.RESTING: (WorkerState.LAME_DUCK, WorkerState.WARM),
    }.get(worker.state, ())


def _mark(state: ServingState, actions: tuple[act.Action, ...]) -> Hashable:
    """What of a state decides what follows; words are no part of it."""
    rollout = None if state.rollout is None else replace(state.rollout, reason=None, held=None)
    return replace(state, rollout=rollout), _writes(actions)


def _moves_of_rollout(before: ServingState, after: ServingState) -> set[Edge]:
    one, other = before.rollout, after.rollout
    if other is None or one == other:
        return set()
    if one is None or one.revision != other.revision:
        return {(BEGIN, "PLANNED"), ("PLANNED", other.state.name)}
    stays = one.state is other.state and one.step == other.step
    return set() if stays else {(one.state.name, other.state.name)}


def _moves_of_workers(before: ServingState, following: tuple[ServingState, tuple[act.Action, ...]]) -> set[Edge]:
    state, actions = following
    flips = {action.worker: f"r{action.revision}-w{action.index}" for action in actions if isinstance(action, act.Flip)}
    again = {worker_name(action.revision, action.index) for action in actions if isinstance(action, act.Spawn)}
    moved = {(BEGIN, "SPAWNED")} if again else set()
    for worker in before.workers:
        now = state.worker(flips.get(worker.name, worker.name))
        end = "EXITED" if now is None or worker.name in again else now.state.name
        if end != worker.state.name:
            moved.add((worker.state.name, end))
    return moved


ROLLOUT, WORKER = drawn("States of a rollout"), drawn("States of a worker")
ENDS = {("EXITED", BEGIN), ("PROMOTED", BEGIN), ("ABORTED", BEGIN), ("ROLLED_BACK", BEGIN)}


def test_every_state_is_drawn() -> None:
    assert states(ROLLOUT) == {state.name for state in RolloutState}
    assert states(WORKER) == {state.name for state in WorkerState}


def test_every_step_of_a_rollout_goes_along_the_arrows() -> None:
    assert [step for step in sorted(walked()[0]) if not leads(ROLLOUT, *step)] == []


def test_a_rollout_goes_along_every_arrow() -> None:
    assert sorted(ROLLOUT - ENDS - walked()[0]) == []


def test_every_step_of_a_worker_goes_along_the_arrows_or_is_its_death() -> None:
    assert [step for step in sorted(walked()[1]) if step[1] != "EXITED" and not leads(WORKER, *step)] == []


def test_a_worker_goes_along_every_arrow() -> None:
    assert sorted(WORKER - ENDS - walked()[1]) == []
