"""Could chance alone have brought this? One-sided tests of a candidate against what is stable, without any draw.

Both are exact: no approximation stands between the level that is promised and the one that is kept, not even where
errors are rare and one side has twenty times the requests of the other.
"""

from __future__ import annotations

from math import ceil, exp, lgamma, log, log1p, pi, sqrt

from hyperion.domain.latency_profile import BUCKETS, Cumulative, LatencyProfile, lower_bound_s

_CUTS = 4
"""Into so many parts each bucket is cut to sum over it."""
_FAR = 9.0
"""Standard deviations from its mean beyond which a distribution counts as ended: one chance in 10 ** 18."""


def chance_of_more_errors(errors: int, requests: int, other_errors: int, other_requests: int) -> float:
    """The chance of ``errors`` or more among ``requests`` where both sides fail equally often.

    R. A. Fisher's exact test, one-sided: given the errors of both sides together, how many of them fall on the first
    one follows the hypergeometric distribution, whatever the rate is. (The usual test by the normal distribution
    calls far too often where a few errors are expected.)
    """
    together, population = errors + other_errors, requests + other_requests
    most = min(requests, together)
    if errors <= max(0, together - other_requests):
        return 1.0
    all_ways = _log_choose(population, together)
    chance = 0.0
    for count in range(errors, most + 1):
        term = exp(_log_choose(requests, count) + _log_choose(other_requests, together - count) - all_ways)
        chance += term
        if term < chance * 1e-12 and count * population > together * requests:
            break  # beyond the mean each term is smaller than the one before
    return min(1.0, chance)


def chance_of_quantile(profile: LatencyProfile, other: LatencyProfile, q: float, times: float, slack_s: float) -> float:
    """The share of bootstrap resamples in which the ``q`` quantile is at most ``times`` (the other's + ``slack_s``).

    B. Efron, Bootstrap methods: another look at the jackknife, 1979: for a quantile the resamples need not be drawn.
    At most r of n resampled requests lie under x as often as a binomial distribution says; so the share over
    infinitely many resamples is a sum (A. D. Hutson and M. D. Ernst, The exact bootstrap mean and variance of an
    L-estimator, 2000), and small shares are as exact as large ones. Both profiles must have samples.
    """
    own, others = profile.cumulative(), other.cumulative()
    share, before = 0.0, 0.0
    for bucket in range(BUCKETS):
        if others.below[bucket] == others.below[bucket + 1]:
            continue
        low, high = lower_bound_s(bucket), lower_bound_s(bucket + 1)
        for cut in range(1, _CUTS + 1):
            latency_s = low + (high - low) * cut / _CUTS
            reached = _chance_of_quantile_under(others, q, latency_s)
            if reached > before:  # of the resamples, so many have their quantile in this part
                share += (reached - before) * _chance_of_quantile_under(own, q, times * (latency_s + slack_s))
                before = reached
        if before >= 1.0:
            break
    return min(1.0, share + (1.0 - before))


def beta_share(x: float, a: float, b: float) -> float:
    """The regularized incomplete beta function I_x(a, b), by its continued fraction (https://dlmf.nist.gov/8.17#v)."""
    if x <= 0.0 or x >= 1.0:
        return 0.0 if x <= 0.0 else 1.0
    if x > (a + 1) / (a + b + 2):
        return 1.0 - beta_share(1.0 - x, b, a)
    front = exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log1p(-x)) / a
    return front * _beta_fraction(x, a, b)


def look_levels(alpha: float, look: int) -> tuple[float, float]:
    """What of ``alpha`` the ``look``-th look of a bake (from 0) may spend: in the middle of it, and as its last one.

    Who looks often finds something by chance. Half of the level is kept for the last look; the other half is spent
    over the looks before as 1/1², 1/2², 1/3² …, whose sum is π²/6. By Bonferroni's inequality all looks together then
    keep ``alpha``, however many there are and however they hang together.
    """
    return alpha / 2 * 6 / pi**2 / (look + 1) ** 2, alpha / 2


def _chance_of_quantile_under(distribution: Cumulative, q: float, latency_s: float) -> float:
    """How often the ``q`` quantile of a resample is at most ``latency_s``."""
    requests = distribution.below[-1]
    rank = min(requests, max(1, ceil(q * requests)))
    share = distribution.share_under(latency_s)
    apart = (share - q) * requests
    spread = _FAR * sqrt(requests * q * (1 - q)) + _FAR
    if abs(apart) > spread:
        return 0.0 if apart < 0 else 1.0
    return beta_share(share, rank, requests - rank + 1)


def _beta_fraction(x: float, a: float, b: float) -> float:
    """The continued fraction of I_x(a, b), by Lentz's method as modified by Thompson and Barnett."""
    tiny = 1e-300
    c, d = 1.0, 1.0 / _apart_from_zero(1.0 - (a + b) * x / (a + 1), tiny)
    fraction = d
    # It converges within about the square root of the larger parameter.
    for m in range(1, 200 + int(5 * sqrt(max(a, b)))):
        for numerator in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1.0 / _apart_from_zero(1.0 + numerator * d, tiny)
            c = _apart_from_zero(1.0 + numerator / c, tiny)
            fraction *= c * d
        if abs(c * d - 1.0) < 1e-14:
            break
    return fraction


def _apart_from_zero(value: float, tiny: float) -> float:
    return value if abs(value) > tiny else tiny


def _log_choose(n: int, k: int) -> float:
    return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)
