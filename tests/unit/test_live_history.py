"""What was live when: times as people write them, and the pieces of a deployment's history."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.fakes.clock import FakeClock
from tests.fakes.stage import Stage
from tests.fakes.values import make_draft, make_revision

from hyperion.domain.config import DeploymentConfig
from hyperion.domain.document import JsonValue
from hyperion.domain.event import START, Event, EventKind, LedgerHead
from hyperion.domain.live import Period, live_in, outages_in
from hyperion.errors import ConfigError, NotFoundError
from hyperion.usecases.deploy import stop_deployments
from hyperion.usecases.history import read_live
from hyperion.usecases.moment import parse_moment

REVISIONS = {number: make_revision(number) for number in (1, 2)}
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def at(moment: datetime) -> Period:
    return Period(moment, moment + timedelta(microseconds=1))


def make_events(*happened: tuple[EventKind, int | None, dict[str, JsonValue]]) -> tuple[list[Event], datetime]:
    """One event a minute; and when the first happened."""
    clock, head, events = FakeClock(), START, []
    first = clock.now()
    for kind, number, data in happened:
        event = make_draft(kind, revision=number, data=data).after(head, clock.now())
        events.append(event)
        head = LedgerHead(sequence=event.sequence, hash=event.hash)
        clock.advance(60)
    return events, first


# --- times ---


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-22T12:00:00Z", "2026-11-22t12:00:00z", "2026-11-22 12:00Z", "2026-11-22T13:00:00+01:00",
        "2026-11-22 13:00 +01:00", "2026-11-22T09:30:00-02:30", "2026-11-22 12:00 UTC", " 2026-11-22T12:00:00.000000Z ",
    ],
)  # fmt: skip
def test_a_moment_is_read_in_the_zone_that_it_names(text: str) -> None:
    assert parse_moment(text).start == NOON


def test_a_date_alone_is_that_day_in_utc() -> None:
    assert parse_moment("2026-11-22") == Period(NOON.replace(hour=0), NOON.replace(day=23, hour=0))


def test_a_date_with_a_zone_is_that_day_there() -> None:
    assert parse_moment("2026-11-22 +02:00").start == NOON.replace(day=21, hour=22)


@pytest.mark.parametrize(
    "text",
    [
        "", "yesterday", "2026-11-22T12:00:00", "2026-13-01", "2026-11-31", "2026-11-22 25:00Z", "12:00Z",
        "2026-11-22 12:00 Nowhere/Land", "2026-11-22 12:00 ../../etc/passwd", "0001-01-01 00:00 +14:00",
        "2026-11-22 12:00 +99:00",
    ],
)  # fmt: skip
def test_what_is_no_single_moment_is_refused_with_examples(text: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        parse_moment(text)

    assert refusal.value.code == "history.time"
    assert "Europe/Berlin" in str(refusal.value.hint)


def test_a_local_time_that_the_clocks_showed_twice_is_refused() -> None:
    zoneinfo = pytest.importorskip("zoneinfo")
    try:
        zoneinfo.ZoneInfo("Europe/Berlin")
    except zoneinfo.ZoneInfoNotFoundError:
        pytest.skip("this machine has no time zones")

    assert parse_moment("2026-11-22 13:00 Europe/Berlin").start == NOON
    with pytest.raises(ConfigError, match=r"\+02:00 or .*\+01:00"):
        parse_moment("2026-10-25 02:30 Europe/Berlin")


# --- pieces of history ---


def test_the_revision_that_was_promoted_before_is_live_until_the_next_one() -> None:
    events, first = make_events((EventKind.ROLLOUT_PROMOTED, 1, {}), (EventKind.ROLLOUT_PROMOTED, 2, {}))

    (before,) = live_in(at(first + timedelta(seconds=59)), events, REVISIONS)
    (after,) = live_in(at(first + timedelta(seconds=60)), events, REVISIONS)

    assert (before.revision.number, before.until, before.sequence) == (1, after.since, 1)
    assert (after.revision.number, after.share, after.until) == (2, 1.0, None)


def test_nothing_is_live_before_the_first_promotion_and_after_a_stop() -> None:
    events, first = make_events((EventKind.ROLLOUT_PROMOTED, 1, {}), (EventKind.DEPLOYMENT_STOPPED, None, {}))

    assert live_in(at(first - timedelta(seconds=1)), events, REVISIONS) == ()
    assert live_in(at(first + timedelta(seconds=60)), events, REVISIONS) == ()


def test_a_canary_and_the_stable_revision_are_live_with_their_shares_until_it_is_aborted() -> None:
    events, first = make_events(
        (EventKind.ROLLOUT_PROMOTED, 1, {}), (EventKind.ROLLOUT_CANARY, 2, {"step": 0, "share": 0.25}),
        (EventKind.ROLLOUT_ABORTED, 2, {"reason": "errors"}),
    )  # fmt: skip

    during = live_in(at(first + timedelta(seconds=90)), events, REVISIONS)
    after = live_in(at(first + timedelta(seconds=120)), events, REVISIONS)

    assert [(piece.revision.number, piece.share) for piece in during] == [(1, 0.75), (2, 0.25)]
    assert [(piece.revision.number, piece.share) for piece in after] == [(1, 1.0)]


def test_a_flip_that_failed_was_never_live() -> None:
    events, first = make_events(
        (EventKind.ROLLOUT_PROMOTED, 1, {}), (EventKind.ROLLOUT_PROMOTED, 2, {}),
        (EventKind.ROLLOUT_ABORTED, 2, {"reason": "its warm workers did not come back"}),
    )  # fmt: skip

    (piece,) = live_in(Period(first, first + timedelta(days=1)), events, REVISIONS)

    assert (piece.revision.number, piece.share, piece.until) == (1, 1.0, None)


def test_a_day_shows_all_that_was_live_in_it() -> None:
    events, first = make_events((EventKind.ROLLOUT_PROMOTED, 1, {}), (EventKind.ROLLOUT_PROMOTED, 2, {}))

    found = live_in(Period(first, first + timedelta(days=1)), events, REVISIONS)

    assert [piece.revision.number for piece in found] == [1, 2]


def test_a_stopped_supervisor_is_told_and_a_running_one_is_not() -> None:
    stopped, started = EventKind.SUPERVISOR_STOPPED, EventKind.SUPERVISOR_STARTED
    events, first = make_events((started, None, {}), (stopped, None, {}), (started, None, {}), (stopped, None, {}))

    assert outages_in(at(first), events) == ()
    (outage,) = outages_in(at(first + timedelta(seconds=90)), events)
    assert (outage.since, outage.until) == (first + timedelta(seconds=60), first + timedelta(seconds=120))
    (last,) = outages_in(at(first + timedelta(hours=1)), events)
    assert last.until is None


# --- of a host ---


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    stage = Stage(tmp_path)
    stage.deploy(0)
    stage.deploy(1, config=DeploymentConfig(name="other"))
    return stage


def test_all_deployments_are_told_where_none_is_named(stage: Stage) -> None:
    stop_deployments(stage.host, "other")
    stage.clock.advance(1)

    live = read_live(stage.host, stage.clock.now().isoformat())

    assert {name: len(found) for name, found in live.deployments.items()} == {"other": 0, "tiny": 1}


def test_one_deployment_is_told_where_it_is_named(stage: Stage) -> None:
    assert list(read_live(stage.host, stage.clock.now().isoformat(), "tiny").deployments) == ["tiny"]


def test_a_time_to_come_and_an_unknown_name_are_refused(stage: Stage) -> None:
    with pytest.raises(ConfigError) as refusal:
        read_live(stage.host, (stage.clock.now() + timedelta(days=1)).isoformat())
    with pytest.raises(NotFoundError):
        read_live(stage.host, stage.clock.now().isoformat(), "nobody")

    assert refusal.value.code == "history.time"
