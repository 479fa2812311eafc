"""The rollout rules: what follows from what was observed."""

from __future__ import annotations

import pytest
from tests.rollout_kit import after, plan, serving

from hyperion.domain.action import (
    Abort,
    Accept,
    Finish,
    GiveUp,
    Kill,
    LameDuck,
    Promote,
    RespawnLater,
    Shifted,
    Spawn,
)
from hyperion.domain.crew import CRASH_LIMIT, LONGEST_BACKOFF_S, STEADY_S, backoff_s
from hyperion.domain.observation import (
    Exited,
    Failed,
    Observation,
    PromotionWritten,
    Reached,
    RecallAsked,
    RespawnDue,
    RolloutAsked,
    StopAsked,
    WriteRefused,
)
from hyperion.domain.rollout import advance
from hyperion.domain.serving_state import ServingState
from hyperion.domain.worker_state import WorkerState

LOADED, GATED, ACCEPTING = WorkerState.LOADED, WorkerState.GATED, WorkerState.ACCEPTING


def proving() -> ServingState:
    return after(RolloutAsked(2, plan(1)), Reached("r2-w0", LOADED), state=serving())[0]


def test_a_first_rollout_spawns_all_workers() -> None:
    state, actions = after(RolloutAsked(1, plan(2)))
    assert actions == (Spawn(1, 0), Spawn(1, 1))
    assert state.updating
    assert not state.serving


def test_no_candidate_takes_traffic_before_all_are_proven() -> None:
    state, first = after(RolloutAsked(1, plan(2)), Reached("r1-w0", GATED))
    assert first == ()
    _, second = advance(state, Reached("r1-w1", GATED))
    assert second == (Accept("r1-w0"), Accept("r1-w1"))


def test_the_decision_is_written_only_when_all_candidates_take_traffic() -> None:
    state, first = after(
        RolloutAsked(1, plan(2)), Reached("r1-w0", GATED), Reached("r1-w1", GATED), Reached("r1-w1", ACCEPTING)
    )
    assert first == ()
    assert advance(state, Reached("r1-w0", ACCEPTING))[1] == (Promote(1),)


def test_the_old_workers_leave_only_after_the_decision_is_durable() -> None:
    state, promote = after(Reached("r2-w0", GATED), Reached("r2-w0", ACCEPTING), state=proving())
    assert promote == (Promote(2),)
    assert state.active == 1
    state, leave = advance(state, PromotionWritten())
    assert leave == (LameDuck("r1-w0"),)
    assert state.active == 2


def test_a_rollout_without_a_watch_ends_when_the_old_workers_have_left_traffic() -> None:
    state, actions = after(
        Reached("r2-w0", GATED),
        Reached("r2-w0", ACCEPTING),
        PromotionWritten(),
        Reached("r1-w0", WorkerState.LAME_DUCK),
        state=proving(),
    )
    assert actions == (Shifted(2), Finish(2))
    assert not state.updating
    assert state.serving


@pytest.mark.parametrize("end", [Reached("r1-w0", WorkerState.DRAINED), Exited("r1-w0", "killed")])
def test_an_old_worker_that_says_nothing_has_left_when_it_is_gone(end: Observation) -> None:
    state, _ = after(Reached("r2-w0", GATED), Reached("r2-w0", ACCEPTING), PromotionWritten(), state=proving())
    assert state.updating
    assert advance(state, end)[1] == (Shifted(2), Finish(2))


def test_an_old_worker_that_is_not_ready_is_killed_at_the_switch() -> None:
    state, _ = after(Exited("r1-w1", "crash"), RespawnDue(1, 1), state=serving(2))
    state, actions = after(
        RolloutAsked(2, plan(1)), Reached("r2-w0", GATED), Reached("r2-w0", ACCEPTING), PromotionWritten(), state=state
    )
    assert set(actions) == {LameDuck("r1-w0"), Kill("r1-w1")}


@pytest.mark.parametrize("fault", [Failed("r2-w0", "NaN"), Exited("r2-w0", "NaN")])
def test_a_candidate_that_fails_or_dies_aborts_and_leaves_the_old_one_alone(fault: Observation) -> None:
    state, actions = advance(proving(), fault)
    assert Abort(2, "NaN") in actions
    assert LameDuck("r1-w0") not in actions
    assert state.active == 1
    assert state.serving
    assert not state.updating


def test_a_candidate_that_fails_ends_its_siblings_too() -> None:
    state, _ = after(RolloutAsked(2, plan(2)), Reached("r2-w1", GATED), state=serving())
    _, actions = advance(state, Failed("r2-w0", "slow"))
    assert actions == (Kill("r2-w0"), Kill("r2-w1"), Abort(2, "slow"))


def test_candidates_that_hold_connections_leave_as_lame_ducks_when_the_promotion_is_refused() -> None:
    state, actions = after(
        Reached("r2-w0", GATED), Reached("r2-w0", ACCEPTING), WriteRefused("disk full"), state=proving()
    )
    assert actions == (LameDuck("r2-w0"), Abort(2, "disk full"))
    assert state.active == 1
    assert state.worker("r1-w0").state is ACCEPTING  # type: ignore[union-attr]


def test_a_crash_of_a_serving_worker_is_answered_with_a_respawn_that_takes_traffic_when_proven() -> None:
    state, actions = advance(serving(), Exited("r1-w0", "killed"))
    assert actions == (RespawnLater(1, 0, 0.0),)
    state, spawned = advance(state, RespawnDue(1, 0))
    assert spawned == (Spawn(1, 0),)
    assert advance(state, Reached("r1-w0", GATED))[1] == (Accept("r1-w0"),)


def test_a_crash_loop_backs_off_and_stops_at_the_limit() -> None:
    state, delays, last = serving(), [], None
    for _ in range(CRASH_LIMIT):
        state, (last,) = advance(state, Exited("r1-w0", "boom"))
        if isinstance(last, RespawnLater):
            delays.append(last.delay_s)
            state, _ = advance(state, RespawnDue(1, 0))
    assert delays == sorted(delays)
    assert delays[-1] > 0
    assert last == GiveUp("r1-w0", CRASH_LIMIT, "boom")


def test_a_worker_that_was_steady_starts_its_count_anew() -> None:
    state = serving()
    for _ in range(3 * CRASH_LIMIT):
        state, actions = advance(state, Exited("r1-w0", "boom", accepted_s=STEADY_S))
        assert actions == (RespawnLater(1, 0, 0.0),)
        state, _ = advance(state, RespawnDue(1, 0))


def test_a_respawn_of_a_replaced_revision_is_dropped() -> None:
    state, _ = after(
        Exited("r1-w0", "boom"), RolloutAsked(2, plan(1)), Reached("r2-w0", GATED), Reached("r2-w0", ACCEPTING),
        PromotionWritten(), state=serving(),
    )  # fmt: skip
    assert advance(state, RespawnDue(1, 0)) == (state, ())


def test_stop_drains_the_ready_and_kills_the_rest() -> None:
    state, actions = advance(proving(), StopAsked("told to"))
    assert set(actions) == {Kill("r2-w0"), Abort(2, "told to"), LameDuck("r1-w0")}
    assert len(actions) == 3
    assert advance(state, Exited("r1-w0", "done"))[1] == ()


def test_a_recall_aborts_a_candidate_and_leaves_the_stable_workers_alone() -> None:
    _, actions = advance(proving(), RecallAsked("wrong answers"))
    assert set(actions) == {Kill("r2-w0"), Abort(2, "wrong answers")}


def test_a_recall_stops_no_rescue_and_nothing_that_has_ended() -> None:
    rescue, _ = after(RolloutAsked(2, plan(rescue=True)), state=serving())
    for state in (rescue, serving()):
        assert advance(state, RecallAsked("wrong answers")) == (state, ())


def test_a_late_message_of_a_gone_worker_changes_nothing() -> None:
    state = serving()
    assert advance(state, Reached("r9-w9", ACCEPTING)) == (state, ())
    assert advance(state, Failed("r9-w9", "x")) == (state, ())
    assert advance(state, Exited("r9-w9", "x")) == (state, ())
    assert advance(state, PromotionWritten()) == (state, ())
    assert advance(state, WriteRefused("x")) == (state, ())


def test_an_acknowledgement_that_crosses_the_order_to_leave_does_not_bring_the_worker_back() -> None:
    state, _ = after(Reached("r2-w0", GATED), Failed("r2-w0", "late"), state=proving())
    state, actions = advance(state, Reached("r2-w0", ACCEPTING))
    assert actions == ()
    assert state.worker("r2-w0").state is WorkerState.LAME_DUCK  # type: ignore[union-attr]


def test_a_proof_that_fails_after_a_respawn_counts_as_a_crash() -> None:
    state, _ = after(Exited("r1-w0", "boom"), RespawnDue(1, 0), state=serving())
    state, actions = advance(state, Failed("r1-w0", "NaN"))
    assert actions == (Kill("r1-w0"),)
    assert advance(state, Exited("r1-w0", "killed"))[1] == (RespawnLater(1, 0, backoff_s(2)),)


def test_the_backoff_grows_from_none_to_a_limit() -> None:
    pauses = [backoff_s(crashes) for crashes in range(1, 30)]
    assert pauses[0] == 0
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_BACKOFF_S


def test_a_worker_of_an_aborted_revision_that_still_gets_ready_is_not_used() -> None:
    state, _ = after(RolloutAsked(2, plan(2)), Failed("r2-w0", "slow"), state=serving())
    assert advance(state, Reached("r2-w1", GATED))[1] == ()


def test_a_worker_that_leaves_already_is_not_told_again() -> None:
    state, _ = after(Reached("r2-w0", GATED), Reached("r2-w0", ACCEPTING), PromotionWritten(), state=proving())
    _, actions = advance(state, StopAsked())
    assert actions == (LameDuck("r2-w0"),)
