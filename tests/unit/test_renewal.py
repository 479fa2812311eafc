"""A rolling restart: who leaves when, and that nobody's place stays empty."""

from __future__ import annotations

import pytest

from hyperion.domain.action import Accept, Action, LameDuck, Spawn
from hyperion.domain.crew import CRASH_LIMIT
from hyperion.domain.observation import Exited, Observation, Reached, RespawnDue, RestartAsked, Resumed
from hyperion.domain.rollout import advance
from hyperion.domain.rollout_plan import RolloutPlan
from hyperion.domain.serving_state import ServingState
from hyperion.domain.worker_state import WorkerState

LOADED, GATED, ACCEPTING = WorkerState.LOADED, WorkerState.GATED, WorkerState.ACCEPTING


def after(state: ServingState, *observations: Observation) -> tuple[ServingState, list[Action]]:
    actions: list[Action] = []
    for observation in observations:
        state, following = advance(state, observation)
        actions += following
    return state, actions


def serving(size: int, *, spare: bool = False) -> ServingState:
    """Revision 1 in service."""
    crew = [f"r1-w{index}" for index in range(size + spare)]
    state, _ = after(ServingState(), Resumed(1, RolloutPlan(size=size, spare=spare)))
    proven = [Reached(name, reached) for name in crew for reached in (LOADED, GATED)]
    return after(state, *proven, *(Reached(name, ACCEPTING) for name in crew[:size]))[0]


def carried_out(state: ServingState) -> tuple[list[str], set[int], ServingState]:
    """Ask for a restart and let every process do as it is told: who left, how many took traffic meanwhile."""
    left: list[str] = []
    taking: set[int] = set()
    state, todo = after(state, RestartAsked())
    while todo:
        action = todo.pop(0)
        match action:
            case Spawn(revision, index):
                name = f"r{revision}-w{index}"
                state, more = after(state, Reached(name, LOADED), Reached(name, GATED))
            case Accept(name):
                state, more = after(state, Reached(name, ACCEPTING))
            case LameDuck(name):
                left.append(name)
                state, more = after(state, Reached(name, WorkerState.DRAINED), Exited(name, "left"))
            case _:
                pytest.fail(f"{action} has no place in a restart")
        todo += more
        taking.add(len(state.taking(1)))
    return left, taking, state


@pytest.mark.parametrize("size", [1, 2, 4])
@pytest.mark.parametrize("spare", [False, True])
def test_every_worker_is_replaced_and_every_place_stays_taken(size: int, spare: bool) -> None:
    left, taking, state = carried_out(serving(size, spare=spare))

    assert set(left) >= {f"r1-w{index}" for index in range(size + spare)}
    assert taking == {size, size + 1}
    assert {worker.name for worker in state.workers} == {f"r1-w{index}" for index in range(size + spare)}
    assert state.renewing == ()


def test_no_worker_leaves_before_another_has_taken_its_place() -> None:
    state, actions = after(serving(1), RestartAsked(), Reached("r1-w1", LOADED))
    assert actions == [Spawn(1, 1)]

    state, actions = after(state, Reached("r1-w1", GATED))
    assert actions == [Accept("r1-w1")]

    _, actions = after(state, Reached("r1-w1", ACCEPTING))
    assert actions == [LameDuck("r1-w0")]


def test_a_restart_whose_first_new_worker_dies_is_given_up() -> None:
    state, actions = after(serving(2), RestartAsked(), Exited("r1-w2", "its package is damaged"))

    assert actions == [Spawn(1, 2)]
    assert len(state.taking(1)) == 2
    assert state.renewing == ()


def test_an_old_worker_that_dies_meanwhile_is_started_again_and_counted_as_crashed() -> None:
    state, _ = after(serving(2), RestartAsked())
    state, actions = after(state, Exited("r1-w1", "killed"))
    assert dict(state.crashes) == {1: 1}
    assert LameDuck("r1-w0") not in actions


def test_a_restart_ends_where_a_worker_crashes_too_often() -> None:
    state, _ = after(serving(2), RestartAsked())
    for _ in range(CRASH_LIMIT):
        state, _ = after(state, RespawnDue(1, 1), Exited("r1-w1", "boom"))
    assert state.renewing == ()
    assert state.accepting(1)


def test_a_deployment_that_does_not_serve_is_not_restarted() -> None:
    assert after(ServingState(), RestartAsked()) == (ServingState(), [])
