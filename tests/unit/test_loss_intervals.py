"""Confidence intervals of losses, against published and independent figures."""

from __future__ import annotations

import numpy as np
import pytest

from hyperion.quantization.interval import newcombe, of_counts, of_mean, wilson


@pytest.mark.parametrize(
    ("hits", "rows", "low", "high"),
    [
        # R. G. Newcombe, Two-sided confidence intervals for the single proportion (1998), method 3.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilsons_interval_is_the_published_one(hits: int, rows: int, low: float, high: float) -> None:
    assert wilson(hits, rows) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(
    ("table", "low", "high"),
    [
        # R. G. Newcombe, Improved confidence intervals … paired data (1998), method 10.
        ((36, 12, 2, 0), 0.0569, 0.3404),
        ((54, 0, 0, 0), -0.0664, 0.0664),
    ],
)
def test_newcombes_interval_is_the_published_one(table: tuple[int, int, int, int], low: float, high: float) -> None:
    assert newcombe(*table) == pytest.approx((low, high), abs=2e-4)


def test_newcombes_interval_turns_its_sign_with_the_forms() -> None:
    low, high = newcombe(90, 6, 2, 2)

    assert newcombe(90, 2, 6, 2) == pytest.approx((-high, -low))


def test_the_bootstrap_of_a_mean_agrees_with_the_normal_interval() -> None:
    values = np.random.default_rng(0).normal(5.0, 2.0, 400)

    low, high = of_mean(values, 0)

    half = 1.96 * values.std() / 20
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.03)


def test_the_bootstrap_of_counts_agrees_with_wilsons_interval() -> None:
    found = of_counts(np.array([180, 20]), lambda drawn: drawn[:, 0] / 200, 0)

    assert found == pytest.approx(wilson(180, 200), abs=0.01)


def test_of_very_many_rows_the_interval_goes_on_where_the_bootstrap_ends() -> None:
    values = np.random.default_rng(0).exponential(size=20_001)

    assert of_mean(values, 0) == pytest.approx(of_mean(values[:-1], 0), abs=2e-3)


def test_a_seed_gives_the_same_interval() -> None:
    values = np.random.default_rng(1).uniform(size=50)

    assert of_mean(values, 3) == of_mean(values, 3)
