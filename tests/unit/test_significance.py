"""The tests behind the gates keep the levels that they promise, whatever the sizes of the two sides are."""

from __future__ import annotations

import random
from itertools import count, islice, pairwise
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hyperion.domain.latency_profile import BUCKETS, STEP, LatencyProfile, bucket_of, lower_bound_s
from hyperion.domain.significance import beta_share, chance_of_more_errors, chance_of_quantile, look_levels


def profile(latencies_s: list[float]) -> LatencyProfile:
    counts = [0] * BUCKETS
    for latency_s in latencies_s:
        counts[bucket_of(round(latency_s * 1e9))] += 1
    return LatencyProfile(tuple(counts))


def lognormal(chance: random.Random, requests: int, median_s: float = 0.01) -> list[float]:
    return [median_s * chance.lognormvariate(0, 0.5) for _ in range(requests)]


@given(latency_ns=st.integers(0, 2**40))
def test_a_latency_lies_in_its_bucket(latency_ns: int) -> None:
    bucket = bucket_of(latency_ns)
    assert 0 <= bucket < BUCKETS
    if 2**16 <= latency_ns < 2**33:
        assert lower_bound_s(bucket) <= latency_ns / 1e9 < lower_bound_s(bucket + 1)


def test_buckets_grow_and_are_narrow() -> None:
    bounds = [lower_bound_s(bucket) for bucket in range(BUCKETS + 1)]
    ratios = [high / low for low, high in pairwise(bounds)]
    assert min(ratios) > 1
    assert max(ratios) == pytest.approx(STEP)


@pytest.mark.parametrize("q", [0.5, 0.95, 0.99])
def test_a_quantile_is_found_within_a_bucket(q: float) -> None:
    latencies = sorted(lognormal(random.Random(1), 20_000))
    found = profile(latencies).quantile_s(q)
    assert found == pytest.approx(latencies[int(q * len(latencies))], rel=STEP - 1)


def test_no_samples_have_no_quantile() -> None:
    assert LatencyProfile().quantile_s(0.95) is None


@pytest.mark.parametrize(
    ("own", "other", "chance"),
    [  # scipy.stats.hypergeom.sf 1.17.1
        ((30, 1000), (190, 19_000), 5.887184767e-07),
        ((3, 100), (4, 1900), 3.666365329e-03),
        ((15, 15), (33, 1842), 1.404963172e-25),
        ((1, 27), (113, 724_952), 4.237048477e-03),
    ],
)
def test_the_chance_of_more_errors_is_that_of_fishers_test(
    own: tuple[int, int], other: tuple[int, int], chance: float
) -> None:
    assert chance_of_more_errors(*own, *other) == pytest.approx(chance, rel=1e-7)


def test_no_errors_say_nothing() -> None:
    assert chance_of_more_errors(0, 100, 0, 100) == 1.0
    assert chance_of_more_errors(0, 100, 50, 100) == 1.0


@given(st.integers(0, 60), st.integers(60, 500), st.integers(0, 60), st.integers(60, 500))
def test_one_more_error_is_never_likelier(errors: int, requests: int, others: int, population: int) -> None:
    more = chance_of_more_errors(errors + 1, requests + 1, others, population)
    assert more <= chance_of_more_errors(errors, requests + 1, others, population) + 1e-12


@pytest.mark.parametrize(
    ("x", "a", "b", "share"),
    [(0.9, 96, 5, 2.371108266e-02), (0.951, 950_001, 50_000, 0.9999980443), (0.0, 2, 3, 0.0), (1.0, 2, 3, 1.0)],
)  # scipy.special.betainc 1.17.1
def test_the_incomplete_beta_function_is_the_known_one(x: float, a: float, b: float, share: float) -> None:
    assert beta_share(x, a, b) == pytest.approx(share, rel=1e-8)


def test_the_exact_bootstrap_is_what_resampling_comes_to() -> None:
    chance = random.Random(5)
    own, other = profile(lognormal(chance, 150, 0.0135)), profile(lognormal(chance, 400))
    exact = chance_of_quantile(own, other, 0.95, 1.25, 0.0)

    def p95(of: LatencyProfile) -> float:
        buckets = chance.choices(range(BUCKETS), of.counts, k=of.total)
        again = sorted(chance.uniform(lower_bound_s(bucket), lower_bound_s(bucket + 1)) for bucket in buckets)
        return again[ceil(0.95 * of.total) - 1]

    drawn = sum(p95(own) <= 1.25 * p95(other) for _ in range(400)) / 400
    assert 0.05 < exact < 0.95
    assert drawn == pytest.approx(exact, abs=0.09)  # four standard deviations of what is drawn


def test_a_much_slower_candidate_leaves_no_doubt() -> None:
    chance = random.Random(6)
    own, other = profile(lognormal(chance, 300, 0.03)), profile(lognormal(chance, 3000))
    assert chance_of_quantile(own, other, 0.95, 1.25, 0.0) < 1e-9
    assert chance_of_quantile(other, own, 0.95, 1.25, 0.0) == pytest.approx(1.0)


def test_all_looks_together_keep_the_level() -> None:
    spent = sum(look_levels(0.01, look)[0] for look in islice(count(), 10_000))
    assert spent + look_levels(0.01, 10_000)[1] == pytest.approx(0.01, rel=1e-4)
    assert spent + look_levels(0.01, 10_000)[1] < 0.01
