"""Histories and Markdown: laws that hold for whatever happened and whatever was written."""

from __future__ import annotations

import re
import unicodedata
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fakes.clock import FakeClock
from tests.fakes.values import make_draft, make_revision

from hyperion.domain.event import START, Event, EventKind, LedgerHead
from hyperion.domain.history import RevisionState, trace_revisions
from hyperion.domain.live import Period, live_in
from hyperion.domain.markdown import plain

KINDS = (EventKind.ROLLOUT_PROMOTED, EventKind.ROLLOUT_ABORTED, EventKind.DEPLOYMENT_STOPPED, EventKind.WORKER_READY)
HAPPENED = st.lists(st.tuples(st.sampled_from(KINDS), st.integers(1, 4)), max_size=12)
REVISIONS = tuple(make_revision(number) for number in range(1, 5))


def make_events(happened: list[tuple[EventKind, int]]) -> list[Event]:
    clock, head, events = FakeClock(), START, []
    for kind, number in happened:
        clock.advance(1)
        revision = None if kind is EventKind.DEPLOYMENT_STOPPED else number
        event = make_draft(kind, revision=revision).after(head, clock.now())
        events.append(event)
        head = LedgerHead(sequence=event.sequence, hash=event.hash)
    return events


def active_after(happened: list[tuple[EventKind, int]]) -> int | None:
    """The one promoted last; where that was a flip that is aborted since, the one that it was to replace."""
    active: int | None = None
    replaced: int | None = None
    for kind, number in happened:
        if kind is EventKind.ROLLOUT_PROMOTED and active != number:
            active, replaced = number, active
        elif kind is EventKind.ROLLOUT_ABORTED and active == number:
            active, replaced = replaced, None
        elif kind is EventKind.DEPLOYMENT_STOPPED:
            active = None
    return active


def without_failed_flips(happened: list[tuple[EventKind, int]]) -> list[tuple[EventKind, int]]:
    """The same, with a promotion that an abort took back as something that says nothing."""
    for end, (kind, number) in enumerate(happened):
        before = happened[:end]
        if kind is EventKind.ROLLOUT_ABORTED and active_after(before) == number:
            begin = end
            while begin and active_after(before[:begin]) == number:
                begin -= 1
            nothing = [(EventKind.WORKER_READY, other) if other == number and kind is EventKind.ROLLOUT_PROMOTED
                       else (kind, other) for kind, other in happened[begin:end]]  # fmt: skip
            rest = happened[end + 1 :]
            return without_failed_flips([*happened[:begin], *nothing, (EventKind.WORKER_READY, number), *rest])
    return happened


@settings(deadline=None)
@given(HAPPENED)
def test_at_most_one_revision_is_active_and_it_is_the_one_promoted_last(happened: list[tuple[EventKind, int]]) -> None:
    histories = trace_revisions(REVISIONS, make_events(happened))

    active = [history.revision.number for history in histories if history.state is RevisionState.ACTIVE]
    expected = active_after(happened)
    assert active == ([] if expected is None else [expected])


@settings(deadline=None)
@given(HAPPENED)
def test_a_revision_ends_after_it_began_and_only_if_it_began(happened: list[tuple[EventKind, int]]) -> None:
    for history in trace_revisions(REVISIONS, make_events(happened)):
        if history.active_until is not None:
            assert history.promoted_at is not None
            assert history.active_until > history.promoted_at
            assert history.state in (RevisionState.REPLACED, RevisionState.STOPPED)
        if history.state is RevisionState.ACTIVE:
            assert history.active_until is None


SHARES = st.sampled_from([0.01, 0.25, 0.5])
CHANGES = st.lists(
    st.tuples(st.sampled_from((*KINDS, EventKind.ROLLOUT_CANARY)), st.integers(1, 4), SHARES), max_size=12
)


@settings(deadline=None)
@given(CHANGES, st.integers(-1, 13))
def test_at_any_moment_all_requests_or_none_have_a_revision(
    changes: list[tuple[EventKind, int, float]], second: int
) -> None:
    events = make_events([(kind, number) for kind, number, _ in changes])
    events = [
        event.model_copy(update={"data": {"share": share}})
        for event, (_, _, share) in zip(events, changes, strict=True)
    ]
    moment = FakeClock().now() + timedelta(seconds=second)
    by_number = {revision.number: revision for revision in REVISIONS}

    live = live_in(Period(moment, moment + timedelta(microseconds=1)), events, by_number)
    meant = without_failed_flips([(kind, number) for kind, number, _ in changes])
    active = active_after([change for change, event in zip(meant, events, strict=True) if event.at <= moment])

    if active is not None:
        assert sum(piece.share for piece in live) == pytest.approx(1)
        assert active in {piece.revision.number for piece in live}
    else:
        assert all(piece.share < 1 for piece in live)


@settings(deadline=None)
@given(st.text(max_size=60))
def test_markdown_of_any_text_is_one_line_without_hidden_characters_tags_or_links(text: str) -> None:
    shown = plain(text)

    assert not [character for character in shown if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp")]
    assert "<" not in shown
    assert ">" not in shown
    assert not re.search(r"(?<!\\)(\\\\)*[`*\[\]|~$@]", shown)
    assert "://" not in shown


@settings(deadline=None)
@given(st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]), max_size=60))
def test_markdown_keeps_every_visible_character(text: str) -> None:
    unescaped = re.sub(r"\\([^A-Za-z0-9\s])", r"\1", plain(text))
    restored = unescaped.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")

    assert restored == text
