"""How far a measured loss may be chance: 95 % confidence intervals."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Z = 1.959963984540054
"""The normal distribution's 97.5 % point."""
RESAMPLES = 2000
MANY_ROWS = 20_000
"""From here on a mean is normally distributed, whatever its rows are."""
_CHUNK = 4_000_000
"""Drawn indices that are held at once."""

Interval = tuple[float, float]


def wilson(hits: int, rows: int) -> Interval:
    """Of a proportion: the score interval.

    E. B. Wilson, Probable inference, the law of succession, and statistical inference, JASA 22 (1927), 209-212.
    """
    share = hits / rows
    middle = share + Z**2 / (2 * rows)
    half = Z * math.sqrt(share * (1 - share) / rows + Z**2 / (4 * rows**2))
    below, above = (middle - half) / (1 + Z**2 / rows), (middle + half) / (1 + Z**2 / rows)
    return max(0.0, below) if hits else 0.0, min(1.0, above) if hits < rows else 1.0


def newcombe(both: int, first_only: int, second_only: int, neither: int) -> Interval:
    """Of the difference of two proportions that were measured on the same rows: first minus second.

    R. G. Newcombe, Improved confidence intervals for the difference between binomial proportions based on paired data,
    Statistics in Medicine 17 (1998), 2635-2650, method 10: Wilson's limits of both, joined by their correlation.
    """
    rows = both + first_only + second_only + neither
    first, second = (both + first_only) / rows, (both + second_only) / rows
    (low1, high1), (low2, high2) = wilson(both + first_only, rows), wilson(both + second_only, rows)
    phi = _correlation(both, first_only, second_only, neither)
    down = _joined(first - low1, high2 - second, phi)
    up = _joined(high1 - first, second - low2, phi)
    return max(-1.0, first - second - down), min(1.0, first - second + up)


def _correlation(both: int, first_only: int, second_only: int, neither: int) -> float:
    rows = both + first_only + second_only + neither
    margins = (both + first_only) * (second_only + neither) * (both + second_only) * (first_only + neither)
    if not margins:
        return 0.0
    product = both * neither - first_only * second_only
    corrected = max(product - rows / 2, 0.0) if product > 0 else product
    return corrected / math.sqrt(margins)


def _joined(one: float, other: float, phi: float) -> float:
    return math.sqrt(max(0.0, one**2 - 2 * phi * one * other + other**2))


def of_mean(values: NDArray[np.float64], seed: int) -> Interval:
    """Of a mean over rows: percentiles of the bootstrap; of very many rows the normal one, which is the same there.

    B. Efron, R. J. Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.
    """
    import numpy as np

    rows = len(values)
    if rows > MANY_ROWS:
        half = Z * float(values.std(ddof=1)) / math.sqrt(rows)
        return float(values.mean()) - half, float(values.mean()) + half
    random = np.random.default_rng(seed)
    at_once = max(1, _CHUNK // rows)
    means: list[NDArray[Any]] = []
    for start in range(0, RESAMPLES, at_once):
        drawn = random.integers(rows, size=(min(at_once, RESAMPLES - start), rows))
        means.append(values[drawn].mean(axis=1))
    return _percentiles(np.concatenate(means))


def of_counts(
    counts: NDArray[np.int64], statistic: Callable[[NDArray[np.int64]], NDArray[np.float64]], seed: int
) -> Interval:
    """Of anything that follows from how many rows are of each kind: percentiles of the bootstrap, as ``of_mean``.

    Args:
        counts: Rows of each kind.
        statistic: Resampled counts [resamples, kinds] → values [resamples].
        seed: Of the resampling.
    """
    import numpy as np

    random = np.random.default_rng(seed)
    rows = int(counts.sum())
    return _percentiles(statistic(random.multinomial(rows, counts / rows, size=RESAMPLES)))


def widened(interval: Interval, rows: int) -> Interval:
    """Of a difference of two shares that no resample varies, as where the forms answer every row alike.

    The bootstrap knows only rows that it has seen; of such as were not, Wilson's upper end tells how many there may be.
    """
    unseen = wilson(0, rows)[1]
    return max(-1.0, interval[0] - unseen), min(1.0, interval[1] + unseen)


def _percentiles(values: NDArray[Any]) -> Interval:
    import numpy as np

    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)
