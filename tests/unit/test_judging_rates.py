"""How often the gates are wrong: candidates as good as stable, and stated regressions, on a simulated clock.

Every run judges a bake of a minute once a second, on traffic with swings, slow spells and bursts of errors
(tests.traffic). The seeds are fixed, so the figures are the same in every run: these tests notice when a change makes
the rules worse. They are no fresh evidence for them, as spans and parts in domain.judging were chosen with such runs in
view; docs/explanation/gates.md has the figures of seeds that were kept apart.
"""

from __future__ import annotations

import numpy as np
import pytest
from tests.traffic import NONE, Conditions, Minutes, Regression

from hyperion.domain.evidence import Verdict, VerdictKind
from hyperion.domain.judging import Course, Terms, judge
from hyperion.domain.rollout_policy import Gates
from hyperion.domain.traffic_window import Sight, Window

BAKE_S = 60
PHASES = 3
"""As in a rollout of two steps and a watch."""
BUSY, CALM = Conditions(rate=400), Conditions(rate=60)


def run_bake(conditions: Conditions, share: float, seed: int, regression: Regression, past_s: int) -> Verdict:
    """The verdict of one bake; a canary, or with ``past_s`` the watch after so many seconds of the stable revision."""
    minutes = Minutes(conditions, np.random.default_rng([int(conditions.rate), past_s, seed]))
    past = None
    if past_s:
        past = Window()
        for _ in range(past_s):
            past = past.plus(minutes.second(0.0)[1])
    terms = Terms(2, 1, Gates(), BAKE_S, past, PHASES)
    course, candidate, stable, second = Course(), Window(), Window(), 0
    while True:
        second += 1
        own, other = minutes.second(share, regression)
        candidate, stable = candidate.plus(own), stable.plus(other)
        course, verdict = judge(terms, course, Sight(float(second), candidate, stable))
        if verdict.kind is not VerdictKind.HOLD:
            return verdict


def breaches(conditions: Conditions, share: float, runs: int, regression: Regression = NONE, past_s: int = 0) -> int:
    verdicts = (run_bake(conditions, share, seed, regression, past_s) for seed in range(runs))
    return sum(verdict.kind is VerdictKind.BREACH for verdict in verdicts)


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    ("conditions", "share"), [pytest.param(BUSY, 0.05, id="busy"), pytest.param(CALM, 0.25, id="calm", marks=SLOW)]
)
def test_of_200_canaries_as_good_as_stable_at_most_2_percent_are_aborted(conditions: Conditions, share: float) -> None:
    assert breaches(conditions, share, 200) <= 4


@pytest.mark.parametrize("conditions", [pytest.param(BUSY, id="busy", marks=SLOW), pytest.param(CALM, id="calm")])
def test_of_200_promoted_revisions_as_good_as_before_at_most_2_percent_are_left(conditions: Conditions) -> None:
    assert breaches(conditions, 1.0, 200, past_s=60) <= 4


@pytest.mark.parametrize(
    ("regression", "least"),
    [(Regression(errors=0.02), 24), (Regression(slower=2.0), 27), (Regression(errors=0.5), 30)],
    ids=["two points of errors", "p95 twice as long", "half of all fail"],
)
def test_of_30_worse_canaries_so_many_are_aborted(regression: Regression, least: int) -> None:
    assert breaches(BUSY, 0.05, 30, regression) >= least


@pytest.mark.parametrize(
    ("regression", "least"),
    [(Regression(errors=0.02), 24), (Regression(slower=2.0), 24), (Regression(errors=0.5), 30)],
    ids=["two points of errors", "p95 twice as long", "half of all fail"],
)
def test_of_30_worse_promoted_revisions_so_many_are_left(regression: Regression, least: int) -> None:
    assert breaches(CALM, 1.0, 30, regression, past_s=60) >= least
