"""What every clock promises, the machine's and the fake."""

from __future__ import annotations

from datetime import UTC, timedelta

import pytest
from tests.fakes.clock import FakeClock

from hyperion.adapters.host.system_clock import SystemClock
from hyperion.ports import Clock


@pytest.fixture(params=[SystemClock, FakeClock])
def clock(request: pytest.FixtureRequest) -> Clock:
    found: Clock = request.param()
    return found


def test_time_is_utc(clock: Clock) -> None:
    assert clock.now().tzinfo is UTC


def test_sleeping_moves_both_times_on(clock: Clock) -> None:
    now, monotonic = clock.now(), clock.monotonic()

    clock.sleep(0.01)

    assert clock.monotonic() >= monotonic + 0.01
    assert clock.now() >= now + timedelta(seconds=0.009)


def test_sleeping_for_a_time_that_is_over_returns(clock: Clock) -> None:
    clock.sleep(0)
