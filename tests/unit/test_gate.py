from __future__ import annotations

import pytest

from hyperion.domain.finding import Finding, Outcome
from hyperion.domain.gate import decide


def finding(check: str, outcome: Outcome) -> Finding:
    return Finding(check=check, outcome=outcome, summary="…")


def test_one_failed_check_denies_and_is_named() -> None:
    bad = finding("memory.peak", Outcome.FAILED)

    decision = decide([finding("integrity.digests", Outcome.PASSED), bad])

    assert not decision.allowed
    assert decision.denied_by == (bad,)


@pytest.mark.parametrize("outcome", [Outcome.PASSED, Outcome.SKIPPED, Outcome.MANUAL, Outcome.WARNED])
def test_only_a_failure_denies(outcome: Outcome) -> None:
    assert decide([finding("plan.window", outcome)]).allowed


def test_a_warning_is_passed_on() -> None:
    warning = finding("plan.version", Outcome.WARNED)

    assert decide([warning]).warnings == (warning,)


def test_a_rescue_is_not_denied_for_its_memory_but_warned_of_it() -> None:
    bad = finding("memory.peak", Outcome.FAILED)

    decision = decide([bad], rescue=True)

    assert decision.allowed
    assert decision.warnings == (bad,)


@pytest.mark.parametrize("check", ["integrity.digests", "model.load", "model.golden"])
def test_even_a_rescue_must_be_whole_load_and_answer_correctly(check: str) -> None:
    assert not decide([finding(check, Outcome.FAILED)], rescue=True).allowed
