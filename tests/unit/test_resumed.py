"""What the rules make of what a new supervisor finds: workers in any state, and a rollout in the middle."""

from __future__ import annotations

import pytest

from hyperion.domain.action import Accept, Flip, GoBack, Judge, KeepWarm, Kill, LameDuck, Promote, Rest, Route, Spawn
from hyperion.domain.observation import Reached, Resumed
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


def test_old_workers_that_a_finished_switch_left_in_traffic_leave_it_and_stay_warm() -> None:
    state, actions = resumed(Worker(1, 0, WorkerState.ACCEPTING), Worker(1, 1, WorkerState.WARM), SERVING)
    assert actions == (KeepWarm(1, 600.0), Rest("r1-w0"))
    assert [worker.name for worker in state.workers if worker.takes_traffic] == ["r2-w0"]
    assert {worker.index for worker in state.of(1) if worker.rests} == {0, 1}


def test_old_workers_leave_cold_where_nothing_is_to_be_kept_warm() -> None:
    state, actions = resumed(Worker(1, 0, WorkerState.ACCEPTING), SERVING, plan=RolloutPlan(watch_s=60.0))
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
    assert actions == (Route("r2-w0", 2, 0.0), LameDuck("r3-w0", frames_only=True))


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


def test_a_flip_that_was_decided_is_gone_through_with_and_what_it_replaces_serves_until_then() -> None:
    flip = RolloutPlan(warm_s=600.0, rescue=True, flips=0)
    state, actions = resumed(Worker(1, 0, WorkerState.ACCEPTING), Worker(0, 0, WorkerState.WARM), plan=flip)
    assert actions == (Flip("r0-w0", 2, 0),)
    assert state.accepting(1)
    state, actions = advance(state, Reached("r2-w0", WorkerState.ACCEPTING))
    assert actions == (Promote(2),)


def test_a_flip_that_was_decided_takes_the_warm_worker_at_once_where_nobody_takes_traffic_any_more() -> None:
    flip = RolloutPlan(size=2, warm_s=600.0, rescue=True, flips=0)
    state, actions = resumed(Worker(0, 0, WorkerState.WARM), plan=flip)
    assert actions == (Flip("r0-w0", 2, 0), Spawn(2, 1))
    state, _ = advance(state, Reached("r2-w0", WorkerState.ACCEPTING))
    assert (state.active, len(state.accepting(2))) == (2, 1)


def test_what_a_decided_switch_replaces_serves_until_a_fresh_worker_does_where_no_other_lives() -> None:
    state, actions = resumed(Worker(1, 0, WorkerState.ACCEPTING))
    assert actions == (Spawn(2, 0),)
    assert state.accepting(1)
    assert state.updating
