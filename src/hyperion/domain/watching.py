"""After the promotion: the watch, the way back that nobody asked for, and the crash loop that asks for one."""

from __future__ import annotations

from dataclasses import replace

from hyperion.domain.action import Alert, Finish, GoBack
from hyperion.domain.crew import CRASH_LIMIT
from hyperion.domain.evidence import Verdict, VerdictKind
from hyperion.domain.serving_state import RolloutState, ServingState, Step

WATCHED_CRASHES = 2
"""Crashes in a row of one worker that a watched revision may not show."""


def judge_watch(state: ServingState, verdict: Verdict) -> Step:
    """Go back from a revision that breaks its gates, where there is a way; end the watch when it is decided."""
    rollout = state.rollout
    if rollout is None or rollout.state is not RolloutState.BAKING:
        return state, ()
    match verdict.kind:
        case VerdictKind.PASS:
            return end_watch(state, verdict.reason, verdict)
        case VerdictKind.HOLD:
            return state, ()
    if state.previous is not None:
        return go_back(state, verdict.reason, verdict)
    state, ended = end_watch(state, f"nothing goes back by itself: {verdict.reason}")
    return state, (Alert(rollout.revision, verdict), *ended)


def end_watch(state: ServingState, note: str, verdict: Verdict | None = None) -> Step:
    """Watch the revision no more; nothing where none is watched."""
    rollout = state.rollout
    if rollout is None or rollout.state is not RolloutState.BAKING:
        return state, ()
    state = replace(state, rollout=replace(rollout, state=RolloutState.PROMOTED, is_judged=False))
    return state, (Finish(rollout.revision, note, verdict),)


def go_back(state: ServingState, reason: str, verdict: Verdict | None = None) -> Step:
    """Leave the active revision for the one that it replaced; once, for then there is no previous one any more."""
    if state.active is None or state.previous is None:
        return state, ()
    back = GoBack(state.active, state.previous, reason, verdict)
    rollout = state.rollout
    if rollout is not None and rollout.revision == state.active:
        rollout = replace(rollout, state=RolloutState.ROLLED_BACK, is_judged=False, reason=reason)
    return replace(state, previous=None, rollout=rollout), (back,)


def crashed(state: ServingState, index: int, reason: str) -> Step:
    """After a crash of the active revision: one that is watched is left early, any other when it is given up."""
    crashes = dict(state.crashes)[index]
    if state.watching and crashes >= WATCHED_CRASHES:
        return go_back(state, f"{crashes} crashes in a row while it was watched: {reason}")
    return fall_back(state)


def fall_back(state: ServingState) -> Step:
    """Go back from a revision that serves no more since its workers crashed too often."""
    if state.stopping or state.updating or state.taking(state.active):
        return state, ()
    worst = max((crashes for _, crashes in state.crashes), default=0)
    if worst < CRASH_LIMIT:
        return state, ()
    return go_back(state, f"its workers crashed {worst} times in a row and were given up")
