"""What the rules make of what a new supervisor finds: workers in any state, and a rollout in the middle."""

from __future__ import annotations

import pytest

from hyperion.domain.action import Accept, GoBack, Judge, KeepWarm, Kill, LameDuck, Route, Spawn
from hyperion.domain.observation import Resumed
from hyperion.domain.rollout import advance
from hyperion.domain.rollout_plan import RolloutPlan
from hyperion.domain.serving_state import ServingState
from hyperion.domain.worker_state import Worker, WorkerState

PLAN = RolloutPlan(size=1, watch_s=60.0, warm_s=600.0)
SERVING = Worker(2, 0, WorkerState.ACCEPTING)


def resumed(*adopted: Worker, plan: RolloutPlan = PLAN, **more: object) -> tuple[ServingState, tuple[object, ...]]:
    return advance(ServingState(), Resumed(2, plan, replaced=1, adopted=adopted, **more))  # type: ignore[arg-type]


def test_workers_that_live_are_not_started_again() -> None:
    state, actions = resumed(SERVING, plan=RolloutPlan(size=2))
    assert actions == (Spawn(2, 1),)
    assert state.serving


def test_without_a_living_worker_all_are_started() -> None:
    assert resumed()[1] == (Spawn(2, 0),)


def test_old_workers_that_a_finished_switch_left_in_traffic_leave_it() -> None:
    state, actions = resumed(Worker(1, 0, WorkerState.ACCEPTING), SERVING)
    assert actions == (LameDuck("r1-w0"),)
    assert [worker.name for worker in state.taking(2)] == ["r2-w0"]


def test_warm_workers_stay_warm_for_a_limited_time() -> None:
    state, actions = resumed(Worker(1, 0, WorkerState.WARM), SERVING)
    assert actions == (KeepWarm(1, 600.0),)
    assert state.warm == 1


def test_a_way_back_has_nothing_to_go_back_to_and_keeps_what_it_replaced_warm() -> None:
    plan = RolloutPlan(warm_s=600.0, rescue=True)
    state, actions = resumed(Worker(1, 0, WorkerState.WARM), SERVING, plan=plan)
    assert actions == (KeepWarm(1, 600.0),)
    assert state.previous is None


def test_a_canary_of_a_rollout_that_was_reverted_gets_no_more_requests_and_leaves() -> None:
    _, actions = resumed(SERVING, Worker(3, 0, WorkerState.CANARY))
    assert actions == (Route("r2-w0", 2, 0.0), LameDuck("r3-w0"))


@pytest.mark.parametrize("state", [WorkerState.ACCEPTING, WorkerState.WARM])
def test_a_candidate_that_was_not_promoted_leaves(state: WorkerState) -> None:
    assert resumed(SERVING, Worker(3, 0, state))[1] == (LameDuck("r3-w0"),)


def test_a_worker_on_its_way_out_is_left_to_itself() -> None:
    assert resumed(SERVING, Worker(1, 0, WorkerState.LAME_DUCK))[1] == ()


def test_the_watch_goes_on_for_what_is_left_of_it() -> None:
    state, actions = resumed(SERVING, watch_s=12.5)
    assert actions == (Judge(2, 1),)
    assert state.watching
    assert state.rollout is not None
    assert state.rollout.plan.watch_s == 12.5


def test_a_way_back_that_was_begun_is_gone_through_with() -> None:
    state, actions = resumed(SERVING, leaves="it broke its gates")
    assert actions == (GoBack(2, 1, "it broke its gates"),)
    assert state.previous is None, "once is enough"


def test_nothing_but_what_lives_is_told_anything() -> None:
    _, actions = resumed(SERVING)
    assert not [action for action in actions if isinstance(action, Accept | Kill | LameDuck)]
