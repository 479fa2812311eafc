"""Laws of deployment windows: the clocks on the wall decide, also where they are changed."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from hyperion.domain.window import SEARCHED, WEEK, TimeWindow

ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Apia")
"""Without summer time, with it north and south, with half an hour of it, with odd offsets."""
MINUTES = st.integers(0, 24 * 60 - 1)
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
MOMENTS = st.integers(0, 2 * 366 * 24 * 3600).map(lambda seconds: BEGIN + timedelta(seconds=seconds))


def clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"


@st.composite
def windows(draw: st.DrawFn, zones: tuple[str, ...] = ZONES) -> TimeWindow:
    start = draw(MINUTES)
    end = draw(st.integers(0, 24 * 60).filter(lambda minutes: minutes != start))
    days = draw(st.lists(st.sampled_from(WEEK), min_size=1, unique=True))
    return TimeWindow(days=tuple(days), start=clock(start), end=clock(end), zone=draw(st.sampled_from(zones)))


def drawn_out(window: TimeWindow, around: date) -> list[tuple[datetime, datetime]]:
    """Every opening near a day, on the wall: from, until just before."""
    found = []
    for offset in range(-2, 3):
        midnight = datetime.combine(around + timedelta(days=offset), datetime.min.time())
        if WEEK[midnight.weekday()] in window.days:
            start, end = (
                midnight + timedelta(hours=int(text[:2]), minutes=int(text[3:])) for text in (window.start, window.end)
            )
            found.append((start, end if end > start else end + timedelta(days=1)))
    return found


class TestCovering:
    @given(windows(), MOMENTS)
    def test_it_is_open_exactly_in_its_openings_on_the_wall(self, window: TimeWindow, moment: datetime) -> None:
        local = moment.astimezone(ZoneInfo(window.zone))
        wall = local.replace(tzinfo=None)
        assert window.covers(local) == any(start <= wall < end for start, end in drawn_out(window, wall.date()))

    @given(windows(), st.integers(0, 7 * 24 * 60 - 1))
    def test_only_the_time_on_the_wall_counts(self, window: TimeWindow, minute: int) -> None:
        wall = datetime(2026, 6, 1, tzinfo=UTC) + timedelta(minutes=minute)
        zones = (None, UTC, ZoneInfo("Asia/Kathmandu"))
        assert len({window.covers(wall.replace(tzinfo=zone, fold=fold)) for zone in zones for fold in (0, 1)}) == 1

    @settings(max_examples=10)
    @given(windows(zones=("UTC",)))
    def test_without_summer_time_a_week_has_each_days_length_of_it(self, window: TimeWindow) -> None:
        monday = datetime(2026, 6, 1, tzinfo=UTC)
        opened = sum(window.covers(monday + timedelta(minutes=minute)) for minute in range(7 * 24 * 60))
        (start, end), *_ = drawn_out(window, monday.date()) or drawn_out(window, date(2026, 6, 5))
        assert opened == len(window.days) * (end - start) // timedelta(minutes=1)


class TestOpening:
    @settings(max_examples=20)
    @given(windows(), MOMENTS)
    def test_the_next_opening_is_open_and_nothing_before_it_is(self, window: TimeWindow, moment: datetime) -> None:
        zone = ZoneInfo(window.zone)
        opening = window.next_opening(moment, zone)
        last = moment + SEARCHED if opening is None else opening
        assert opening is None or (window.covers(opening) and opening > moment)
        probe = moment.replace(second=0, microsecond=0) + timedelta(minutes=1)
        while probe < last:
            assert not window.covers(probe.astimezone(zone))
            probe += timedelta(minutes=61)


@pytest.mark.parametrize(
    ("utc", "open_"),
    [
        ("2026-10-25T00:29", False),  # 02:29 CEST
        ("2026-10-25T00:30", True),  # 02:30 CEST
        ("2026-10-25T01:00", False),  # 02:00 CET: the clocks went back
        ("2026-10-25T01:30", True),  # 02:30 CET, for the second time
        ("2026-03-29T01:00", False),  # 03:00 CEST: the clocks skipped 02:30
    ],
)
def test_an_hour_that_is_shown_twice_is_inside_twice_and_one_that_is_skipped_never(utc: str, open_: bool) -> None:
    window = TimeWindow(start="02:30", end="03:00", zone="Europe/Berlin")

    assert window.covers(datetime.fromisoformat(utc).replace(tzinfo=UTC).astimezone(ZoneInfo(window.zone))) is open_


def test_where_clocks_skip_the_opening_a_longer_window_opens_when_they_go_on() -> None:
    window = TimeWindow(start="02:30", end="04:00", zone="Europe/Berlin")

    opening = window.next_opening(datetime(2026, 3, 29, 0, 10, tzinfo=UTC), ZoneInfo(window.zone))

    assert opening is not None
    assert opening.isoformat() == "2026-03-29T03:00:00+02:00"


def test_a_weekly_window_that_clocks_skip_opens_a_week_later() -> None:
    window = TimeWindow(days=("sun",), start="02:15", end="02:45", zone="Europe/Berlin")

    opening = window.next_opening(datetime(2026, 3, 28, 12, tzinfo=UTC), ZoneInfo(window.zone))

    assert opening is not None
    assert opening.isoformat() == "2026-04-05T02:15:00+02:00"


@pytest.mark.parametrize(
    "fields",
    [
        {"zone": "UTC", "start": "09:00", "end": "09:00"}, {"zone": "UTC", "start": "24:00"}, {"zone": "../etc/passwd"},
        {"zone": "UTC", "days": ()}, {"zone": "UTC", "days": ("mon", "mon")}, {"zone": "UTC", "start": "9:00"}, {},
    ],
)  # fmt: skip
def test_what_names_no_times_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        TimeWindow.model_validate(fields)


def test_days_are_told_in_the_order_of_the_week() -> None:
    window = TimeWindow(days=("sun", "tue", "mon", "wed"), start="22:00", end="02:00", zone="UTC")

    assert window.describe() == "mon-wed, sun 22:00-02:00 UTC"
