"""Traffic of a deployment on a simulated clock, second by second, with what makes real traffic hard to judge.

Load swings, the whole host has slow spells and drifts, errors come in bursts, and clients send bad requests. Both
revisions live through the same minutes; only what ``Regression`` says is the candidate's own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from hyperion.domain.latency_profile import BUCKETS, LatencyProfile, lower_bound_s
from hyperion.domain.traffic_window import Window

_EDGES_S = np.array([lower_bound_s(bucket) for bucket in range(BUCKETS)])


@dataclass(frozen=True, slots=True)
class Conditions:
    """What a host and its clients are like."""

    rate: float
    """Requests a second, on average."""
    median_s: float = 0.012
    spread: float = 0.5
    """Standard deviation of the logarithm of latencies."""
    error_ratio: float = 0.004
    bad_request_ratio: float = 0.01
    spell_every_s: float = 120.0
    """Mean time between spells in which everything takes three times as long, for 4 s in the mean."""
    burst_every_s: float = 600.0
    """Mean time between bursts of errors: a third of all requests, for 2 s in the mean."""


@dataclass(frozen=True, slots=True)
class Regression:
    """In what the candidate is worse."""

    errors: float = 0.0
    """Share of requests that fail beside those that would anyway."""
    slower: float = 1.0
    begins_s: float = 0.0


NONE = Regression()


class Minutes:
    """The course of a host over time; each second is asked for once, in order."""

    def __init__(self, conditions: Conditions, chance: Generator) -> None:
        self._conditions = conditions
        self._chance = chance
        self._second = 0
        self._drift = 0.0
        self._spell_ends = self._burst_ends = 0.0
        self._phase = chance.uniform(0, 2 * np.pi)

    def second(self, share: float, regression: Regression = NONE) -> tuple[Window, Window]:
        """What the candidate, with this share of the requests, and the stable revision answer in the next second."""
        given, chance, now = self._conditions, self._chance, float(self._second)
        self._second += 1
        self._drift = 0.98 * self._drift + chance.normal(0, 0.01)
        if chance.random() < 1 / given.spell_every_s:
            self._spell_ends = now + 1 + chance.exponential(4)
        if chance.random() < 1 / given.burst_every_s:
            self._burst_ends = now + 1 + chance.exponential(2)
        slow = np.exp(self._drift) * (3.0 if now < self._spell_ends else 1.0)
        failing = given.error_ratio + (0.33 if now < self._burst_ends else 0.0)
        load = given.rate * (1 + 0.4 * np.sin(now / 40 + self._phase)) * chance.lognormal(0, 0.2)
        requests = int(chance.poisson(load))
        own = int(requests * share + chance.random())
        worse = regression if now >= regression.begins_s else NONE
        return (
            self._answered(own, slow * worse.slower, min(1.0, failing + worse.errors)),
            self._answered(requests - own, slow, failing),
        )

    def _answered(self, requests: int, slow: float, failing: float) -> Window:
        given, chance = self._conditions, self._chance
        taken_s = given.median_s * slow * chance.lognormal(0, given.spread, requests)
        buckets = np.maximum(np.searchsorted(_EDGES_S, taken_s, side="right") - 1, 0)
        counts = np.bincount(buckets, minlength=BUCKETS)
        bad = int(chance.binomial(requests, given.bad_request_ratio))
        errors = int(chance.binomial(requests - bad, failing))
        failures = {cause: count for cause, count in (("bad_request", bad), ("engine", errors)) if count}
        return Window(requests, failures, LatencyProfile(tuple(counts.tolist())))
