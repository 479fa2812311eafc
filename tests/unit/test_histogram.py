from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperion.domain.metrics import LATENCY_BOUNDS_S, Histogram, percentile

BUCKETS = len(LATENCY_BOUNDS_S) + 1


def histogram(**counts: int) -> Histogram:
    values = [0] * BUCKETS
    for name, count in counts.items():
        values[int(name.removeprefix("b"))] = count
    return Histogram(counts=tuple(values), sum_s=0.0)


def test_without_samples_there_is_no_quantile() -> None:
    assert Histogram().quantile_ms(0.95) is None
    assert percentile([], 0.95) is None


def test_a_quantile_interpolates_within_its_bucket() -> None:
    # ten values between 1.0 and 2.5 ms: the median stands halfway
    assert histogram(b2=10).quantile_ms(0.5) == pytest.approx(1.75)


def test_values_beyond_the_last_bound_are_reported_as_that_bound() -> None:
    assert histogram(**{f"b{BUCKETS - 1}": 3}).quantile_ms(0.5) == 1000 * LATENCY_BOUNDS_S[-1]


def test_a_difference_holds_what_came_since() -> None:
    assert histogram(b1=5, b2=7).minus(histogram(b1=5, b2=3)) == histogram(b2=4)


def test_counters_that_went_back_count_as_new() -> None:
    assert histogram(b1=2).minus(histogram(b1=5)) == histogram(b1=2)


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=50), st.floats(0, 1))
def test_percentiles_are_those_of_numpy(values: list[float], q: float) -> None:
    assert percentile(values, q) == pytest.approx(float(np.quantile(values, q)), rel=1e-9, abs=1e-9)
