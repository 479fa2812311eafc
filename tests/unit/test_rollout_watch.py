"""After the promotion: the watch, the way back by itself, flips, spares, and hosts without room for two."""

from __future__ import annotations

from tests.rollout_kit import after, plan, ready, serving, verdict

from hyperion.domain.action import (
    Abort,
    Accept,
    Alert,
    Finish,
    Flip,
    GiveUp,
    GoBack,
    Judge,
    KeepWarm,
    Kill,
    LameDuck,
    Promote,
    RespawnLater,
    Rest,
    Route,
    Shifted,
    Spawn,
)
from hyperion.domain.config import DeploymentConfig
from hyperion.domain.crew import CRASH_LIMIT
from hyperion.domain.evidence import VerdictKind
from hyperion.domain.observation import (
    Exited,
    Failed,
    Judged,
    Observation,
    PromotionWritten,
    Reached,
    RespawnDue,
    Resumed,
    RolloutAsked,
    StopAsked,
    WarmthOver,
)
from hyperion.domain.rollout import advance
from hyperion.domain.rollout_plan import plan_rollout, serves_alike
from hyperion.domain.serving_state import RolloutState, ServingState
from hyperion.domain.worker_state import Worker, WorkerState

GATED, ACCEPTING, LEFT, WARM = WorkerState.GATED, WorkerState.ACCEPTING, WorkerState.LAME_DUCK, WorkerState.WARM
BREACH = Judged(verdict(VerdictKind.BREACH, "errors 4 %"))


def shifted(size: int = 1, *end: Observation, **asked: object) -> ServingState:
    """Revision 2 took the place of revision 1, which has left traffic."""
    left = [Reached(f"r1-w{index}", LEFT) for index in range(size)]
    asking = RolloutAsked(2, plan(size, **asked))
    return after(asking, *ready(2, size), PromotionWritten(), *left, *end, state=serving(size))[0]


def watched(**asked: object) -> ServingState:
    return shifted(watch_s=60.0, warm_s=600.0, **asked)


# --- the watch ---


def test_the_watch_begins_when_the_old_revision_has_left_traffic() -> None:
    asked = RolloutAsked(2, plan(watch_s=60.0))
    _, actions = after(asked, *ready(2), PromotionWritten(), Reached("r1-w0", LEFT), state=serving())
    assert actions == (Shifted(2), Judge(2, 1))


def test_a_watched_deployment_is_not_updating() -> None:
    assert (watched().updating, watched().watching) == (False, True)


def test_a_first_revision_is_not_watched_for_there_is_no_way_back() -> None:
    state, actions = after(RolloutAsked(1, plan(watch_s=60.0)), *ready(1), PromotionWritten())
    assert actions == (Shifted(1), Finish(1))
    assert not state.watching


def test_the_watch_ends_when_the_gates_held() -> None:
    held = verdict(VerdictKind.PASS, "the gates held")
    state, actions = advance(watched(), Judged(held))
    assert actions == (Finish(2, "the gates held", held),)
    assert state.rollout is not None
    assert state.rollout.state is RolloutState.PROMOTED


def test_a_breach_goes_back_to_the_replaced_revision() -> None:
    state, actions = advance(watched(), BREACH)
    assert actions == (GoBack(2, 1, "errors 4 %", BREACH.verdict),)
    assert state.serving, "the bad one serves until the way back is open"
    assert advance(state, BREACH) == (state, ()), "once is enough"


def test_without_automatic_return_a_breach_only_alerts() -> None:
    _, actions = advance(watched(automatic=False), BREACH)
    assert actions[0] == Alert(2, BREACH.verdict)
    assert not any(isinstance(action, GoBack) for action in actions)


def test_two_crashes_of_a_watched_worker_are_enough_to_go_back() -> None:
    state, first = advance(watched(), Exited("r2-w0", "boom"))
    assert first == (RespawnLater(2, 0, 0.0),)
    _, second = after(RespawnDue(2, 0), Exited("r2-w0", "boom"), state=state)
    assert any(isinstance(action, GoBack) for action in second)


def test_a_new_rollout_ends_the_watch() -> None:
    _, actions = advance(watched(), RolloutAsked(3, plan()))
    assert actions == (Finish(2, "revision 3 was asked for"), Spawn(3, 0))


# --- crash loops ---


def test_a_crash_loop_falls_back_to_the_last_good_revision_once() -> None:
    state = shifted()
    for _ in range(CRASH_LIMIT - 1):
        state, _ = after(Exited("r2-w0", "boom"), RespawnDue(2, 0), state=state)
    state, (given_up, back) = advance(state, Exited("r2-w0", "boom"))
    assert isinstance(given_up, GiveUp)
    assert isinstance(back, GoBack)
    assert (back.revision, back.to) == (2, 1)
    assert state.previous is None


def test_while_another_worker_serves_a_crash_loop_does_not_fall_back() -> None:
    state = shifted(2)
    for _ in range(CRASH_LIMIT - 1):
        state, _ = after(Exited("r2-w0", "boom"), RespawnDue(2, 0), state=state)
    assert advance(state, Exited("r2-w0", "boom"))[1] == (GiveUp("r2-w0", CRASH_LIMIT, "boom"),)


# --- warmth and flips ---


def test_the_replaced_revision_rests_and_stays_loaded() -> None:
    _, actions = after(RolloutAsked(2, plan(warm_s=600.0)), *ready(2), PromotionWritten(), state=serving())
    assert actions == (Rest("r1-w0"), KeepWarm(1, 600.0))


def test_warmth_ends_when_its_time_is_over() -> None:
    state = shifted(1, Reached("r1-w0", WARM), warm_s=600.0)
    assert state.warm == 1
    assert advance(state, WarmthOver(1))[1] == (LameDuck("r1-w0"),)


def test_a_rollback_to_a_warm_revision_is_a_flip_and_the_bad_one_rests() -> None:
    state = shifted(1, Reached("r1-w0", WARM), warm_s=600.0)
    state, actions = advance(state, RolloutAsked(3, plan(flips=1, rescue=True, warm_s=600.0)))
    assert actions == (Flip("r1-w0", 3, 0),)
    state, actions = advance(state, Reached("r3-w0", ACCEPTING))
    assert actions == (Promote(3),)
    state, actions = advance(state, PromotionWritten())
    assert actions == (Rest("r2-w0"), KeepWarm(2, 600.0))
    assert advance(state, Reached("r2-w0", LEFT))[1] == (Shifted(3), Finish(3))


def test_a_worker_that_still_finishes_its_requests_can_be_flipped_back() -> None:
    state, actions = advance(shifted(warm_s=600.0), RolloutAsked(3, plan(flips=1, rescue=True)))
    assert actions == (Flip("r1-w0", 3, 0),)
    assert advance(state, Reached("r3-w0", WARM)) == (state, ()), "a report that crossed the order"


def test_a_flip_with_too_few_warm_workers_starts_the_missing_ones_after_the_switch() -> None:
    state = shifted(2, Reached("r1-w0", WARM), Exited("r1-w1", "killed"), warm_s=600.0)
    state, actions = advance(state, RolloutAsked(3, plan(2, flips=1, rescue=True)))
    assert actions == (Flip("r1-w0", 3, 0),)
    _, actions = after(Reached("r3-w0", ACCEPTING), PromotionWritten(), state=state)
    assert Spawn(3, 1) in actions


def test_a_flip_whose_workers_do_not_come_back_starts_new_ones() -> None:
    state, _ = after(RolloutAsked(3, plan(flips=1, rescue=True)), state=shifted(warm_s=600.0))
    state, actions = advance(state, Failed("r3-w0", "did not come back"))
    assert actions == (Kill("r3-w0"),)
    assert advance(state, Exited("r3-w0", "killed"))[1] == (Spawn(3, 0),)


def test_a_warm_worker_that_answers_while_it_is_killed_for_its_silence_promotes_nothing() -> None:
    state, _ = after(RolloutAsked(3, plan(flips=1, rescue=True)), state=shifted(warm_s=600.0))
    state, _ = advance(state, Failed("r3-w0", "did not come back"))
    assert advance(state, Reached("r3-w0", ACCEPTING)) == (state, ())


def test_a_flip_goes_on_with_the_warm_worker_that_answers_where_the_other_is_killed_for_its_silence() -> None:
    state, _ = after(RolloutAsked(3, plan(2, flips=1, rescue=True)), state=shifted(2, warm_s=600.0))
    state, actions = after(Failed("r3-w0", "did not come back"), Reached("r3-w1", ACCEPTING), state=state)
    assert actions == (Promote(3),)
    _, actions = after(PromotionWritten(), Exited("r3-w0", "killed"), state=state)
    assert RespawnLater(3, 0, 0.0) in actions


def test_a_flip_asked_for_when_nothing_is_warm_any_more_starts_new_workers() -> None:
    assert advance(serving(), RolloutAsked(2, plan(flips=1, rescue=True)))[1] == (Spawn(2, 0),)


def test_what_was_warm_leaves_when_another_revision_is_replaced() -> None:
    state = shifted(1, Reached("r1-w0", WARM), warm_s=600.0)
    _, actions = after(RolloutAsked(3, plan(warm_s=600.0)), *ready(3), PromotionWritten(), state=state)
    assert actions == (Rest("r2-w0"), KeepWarm(2, 600.0), LameDuck("r1-w0"))


# --- spares ---


def test_a_spare_is_proven_and_takes_no_traffic() -> None:
    state, actions = after(
        Resumed(1, plan(spare=True)), Reached("r1-w0", GATED), Reached("r1-w0", ACCEPTING), Reached("r1-w1", GATED)
    )
    assert actions == ()
    assert [worker.state for worker in state.workers] == [ACCEPTING, GATED]


def test_a_spare_takes_the_place_of_one_that_dies_at_once() -> None:
    state, _ = after(Reached("r1-w1", GATED), state=serving(spare=True))
    state, actions = advance(state, Exited("r1-w0", "killed"))
    assert actions == (Accept("r1-w1"), RespawnLater(1, 0, 0.0))
    state, _ = after(Reached("r1-w1", ACCEPTING), RespawnDue(1, 0), state=state)
    assert advance(state, Reached("r1-w0", GATED))[1] == (), "the next spare"


# --- hosts without room for two ---


def test_recreate_starts_the_new_revision_when_the_old_one_is_gone() -> None:
    state, actions = advance(serving(), RolloutAsked(2, plan(recreate=True)))
    assert actions == (LameDuck("r1-w0"),)
    assert after(Reached("r1-w0", WorkerState.DRAINED), Exited("r1-w0", "ended"), state=state)[1] == (Spawn(2, 0),)


def test_a_recreate_that_fails_starts_the_old_revision_again() -> None:
    state, _ = after(RolloutAsked(2, plan(recreate=True)), Exited("r1-w0", "ended"), state=serving())
    state, actions = advance(state, Failed("r2-w0", "NaN"))
    assert actions == (Kill("r2-w0"), Abort(2, "NaN"))
    assert advance(state, Exited("r2-w0", "killed"))[1] == (Spawn(1, 0),)


def test_a_stop_during_a_recreate_starts_nothing() -> None:
    state, _ = after(RolloutAsked(2, plan(recreate=True)), StopAsked(), state=serving())
    assert advance(state, Exited("r1-w0", "ended"))[1] == ()


# --- a supervisor that comes after another ---


def test_adopted_workers_go_on_and_missing_ones_are_started() -> None:
    adopted = (Worker(1, 0, ACCEPTING), Worker(1, 1, LEFT))
    _, actions = advance(ServingState(), Resumed(1, plan(3), adopted=adopted))
    assert actions == (Spawn(1, 2),)


def test_adopted_workers_of_other_revisions_leave_but_the_warm_one_of_the_way_back() -> None:
    adopted = (Worker(2, 0, ACCEPTING), Worker(1, 0, WARM), Worker(3, 0, WorkerState.CANARY))
    state, actions = advance(ServingState(), Resumed(2, plan(warm_s=600.0), replaced=1, adopted=adopted))
    assert actions == (Route("r2-w0", 2, 0.0), KeepWarm(1, 600.0), LameDuck("r3-w0", frames_only=True))
    assert state.warm == 1


# --- plans ---


def test_a_rescue_moves_all_traffic_at_once_and_is_not_watched() -> None:
    asked = plan_rollout(DeploymentConfig(strategy="canary"), rescue=True)
    assert (asked.steps, asked.watch_s, asked.rescue) == ((), 0.0, True)


def test_a_revision_that_moves_to_another_address_cannot_be_a_canary_nor_leave_a_warm_one() -> None:
    asked = plan_rollout(DeploymentConfig(strategy="canary"), moves=True)
    assert (asked.steps, asked.warm_s) == ((), 0.0)


def test_workers_serve_another_config_as_long_as_it_gives_them_the_same() -> None:
    config = DeploymentConfig()
    assert serves_alike(config, config.model_copy(update={"workers": 4, "owner": "Ada"}))
    assert not serves_alike(config, config.model_copy(update={"threads": 2}))
