"""A canary: its share grows step by step, while the gates hold."""

from __future__ import annotations

import pytest
from tests.rollout_kit import STEPS, after, plan, ready, serving, verdict

from hyperion.domain.action import Abort, Accept, GiveUp, Judge, Kill, LameDuck, OpenFrames, Promote, Route, WriteStep
from hyperion.domain.crew import CRASH_LIMIT
from hyperion.domain.evidence import VerdictKind
from hyperion.domain.observation import (
    Exited,
    Judged,
    PromotionWritten,
    Reached,
    RespawnDue,
    RolloutAsked,
    Routed,
    StepWritten,
    WriteRefused,
)
from hyperion.domain.rollout import advance
from hyperion.domain.serving_state import RolloutState, ServingState
from hyperion.domain.worker_state import WorkerState

GATED, CANARY, ACCEPTING = WorkerState.GATED, WorkerState.CANARY, WorkerState.ACCEPTING


def open_canary(stable: int = 1) -> ServingState:
    """One candidate beside ``stable`` workers of revision 1; it answers frames, and the first step is asked for."""
    asked = RolloutAsked(2, plan(steps=STEPS))
    return after(asked, Reached("r2-w0", GATED), Reached("r2-w0", CANARY), state=serving(stable))[0]


def baking(stable: int = 1) -> ServingState:
    """Every stable worker forwards the first step's share."""
    routed = [Routed(f"r1-w{index}", 2, 0.05) for index in range(stable)]
    return after(StepWritten(), *routed, state=open_canary(stable))[0]


def test_proven_candidates_open_their_frames_and_take_no_connection() -> None:
    _, actions = after(RolloutAsked(2, plan(steps=STEPS)), Reached("r2-w0", GATED), state=serving())
    assert actions == (OpenFrames("r2-w0"),)


def test_a_first_rollout_has_nobody_to_forward_and_takes_all_traffic() -> None:
    _, actions = after(RolloutAsked(1, plan(steps=STEPS)), Reached("r1-w0", GATED))
    assert actions == (Accept("r1-w0"),)


def test_a_step_is_durable_before_a_request_is_forwarded() -> None:
    asked = RolloutAsked(2, plan(steps=STEPS))
    state, written = after(asked, Reached("r2-w0", GATED), Reached("r2-w0", CANARY), state=serving(2))
    assert written == (WriteStep(2, 0, 0.05),)
    assert advance(state, StepWritten())[1] == (Route("r1-w0", 2, 0.05), Route("r1-w1", 2, 0.05))


def test_a_step_that_cannot_be_recorded_aborts() -> None:
    _, actions = advance(open_canary(), WriteRefused("disk full"))
    assert LameDuck("r2-w0", frames_only=True) in actions
    assert Abort(2, "disk full") in actions


def test_the_bake_begins_when_every_worker_forwards() -> None:
    state, first = after(StepWritten(), Routed("r1-w0", 2, 0.05), state=open_canary(2))
    assert first == ()
    assert advance(state, Routed("r1-w1", 2, 0.05))[1] == (Judge(2, 1),)


def test_a_confirmation_of_another_share_says_nothing() -> None:
    assert after(StepWritten(), Routed("r1-w0", 2, 0.5), state=open_canary())[1] == ()


def test_the_next_step_follows_when_the_gates_held() -> None:
    _, actions = advance(baking(), Judged(verdict(VerdictKind.PASS)))
    assert actions == (WriteStep(2, 1, 0.5),)


def test_a_bake_that_cannot_decide_waits() -> None:
    assert advance(baking(), Judged(verdict(VerdictKind.HOLD)))[1] == ()


def test_after_the_last_step_the_candidates_take_all_traffic() -> None:
    held = Judged(verdict(VerdictKind.PASS))
    state, actions = after(held, StepWritten(), Routed("r1-w0", 2, 0.5), held, state=baking())
    assert actions == (Accept("r2-w0"),)
    state, actions = advance(state, Reached("r2-w0", ACCEPTING))
    assert actions == (Promote(2),)
    _, actions = advance(state, PromotionWritten())
    assert actions == (Route("r1-w0", 2, 0.0), LameDuck("r1-w0"))


def test_a_breach_takes_the_share_back_before_the_candidates_leave() -> None:
    found = verdict(VerdictKind.BREACH, "p95 doubled")
    state, actions = advance(baking(), Judged(found))
    assert actions == (Route("r1-w0", 2, 0.0), LameDuck("r2-w0", frames_only=True), Abort(2, "p95 doubled", found))
    assert state.serving
    assert state.active == 1


def test_a_candidate_that_dies_ends_the_canary() -> None:
    state, actions = advance(baking(), Exited("r2-w0", "killed"))
    assert actions == (Route("r1-w0", 2, 0.0), Abort(2, "killed"))
    assert state.serving


def test_a_worker_that_comes_back_forwards_its_share_too() -> None:
    state, _ = after(Exited("r1-w1", "killed"), RespawnDue(1, 1), Reached("r1-w1", GATED), state=baking(2))
    assert advance(state, Reached("r1-w1", ACCEPTING))[1] == (Route("r1-w1", 2, 0.05),)


def test_a_worker_that_dies_before_it_confirms_is_not_waited_for() -> None:
    state, _ = after(StepWritten(), Routed("r1-w0", 2, 0.05), state=open_canary(2))
    assert Judge(2, 1) in advance(state, Exited("r1-w1", "killed"))[1]


def test_a_stable_revision_that_is_given_up_leaves_the_traffic_to_the_candidates() -> None:
    state = baking()
    for _ in range(CRASH_LIMIT - 1):
        state, _ = after(Exited("r1-w0", "boom"), RespawnDue(1, 0), state=state)
    state, actions = advance(state, Exited("r1-w0", "boom"))
    assert actions == (GiveUp("r1-w0", CRASH_LIMIT, "boom"), Accept("r2-w0"))


@pytest.mark.parametrize("size", [1, 3])
def test_only_as_many_candidates_answer_as_will_take_traffic(size: int) -> None:
    gated = [Reached(f"r2-w{index}", GATED) for index in range(size + 1)]
    state, actions = after(RolloutAsked(2, plan(size, spare=True, steps=STEPS)), *gated, state=serving())
    assert actions == tuple(OpenFrames(f"r2-w{index}") for index in range(size))
    opened = [Reached(f"r2-w{index}", CANARY) for index in range(size)]
    assert after(*opened, state=state)[1] == (WriteStep(2, 0, 0.05),)


def test_candidates_that_cannot_open_their_frames_are_not_used() -> None:
    state, _ = after(RolloutAsked(2, plan(2, steps=STEPS)), state=serving())
    state, actions = after(Reached("r2-w0", GATED), Exited("r2-w1", "boom"), state=state)
    assert actions == (Kill("r2-w0"), Abort(2, "boom"))
    assert state.rollout is not None
    assert state.rollout.state is RolloutState.ABORTED


def test_ready_workers_of_a_stable_revision_still_fill_their_places() -> None:
    state, _ = after(Exited("r1-w0", "killed"), RespawnDue(1, 0), state=baking())
    assert after(*ready(1), state=state)[0].serving
