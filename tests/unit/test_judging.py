"""How a bake is judged, rule by rule; how often it is judged wrongly is measured in test_judging_rates."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from hyperion.domain.evidence import Evidence, Verdict, VerdictKind
from hyperion.domain.finding import Finding, Outcome
from hyperion.domain.judging import MORE_REQUESTS, Course, Terms, judge
from hyperion.domain.latency_profile import BUCKETS, LatencyProfile, bucket_of
from hyperion.domain.rollout_policy import Gates
from hyperion.domain.traffic_window import Sight, Window

CANARY = Terms(candidate=2, stable=1, gates=Gates(), bake_s=60.0)


def window(requests: int, *, latency_ms: float = 10.0, **failures: int) -> Window:
    counts = [0] * BUCKETS
    for spread in range(10):  # so that not all lie in one bucket
        counts[bucket_of(round(latency_ms * (0.8 + 0.04 * spread) * 1e6))] += requests // 10
    return Window(requests, failures, LatencyProfile(tuple(counts)))


def bake(terms: Terms, candidate: Window, stable: Window = Window(), *, until_s: int = 60) -> Verdict:  # noqa: B008
    """Each second the candidate and stable answer this much; the last verdict."""
    course, own, other = Course(), Window(), Window()
    for second in range(1, until_s + 1):
        own, other = own.plus(candidate), other.plus(stable)
        course, verdict = judge(terms, course, Sight(float(second), own, other))
        if verdict.kind is not VerdictKind.HOLD:
            break
    return verdict


def finding(verdict: Verdict, check: str) -> Finding:
    return next(found for found in verdict.evidence.findings if found.check == check)


def test_a_candidate_as_good_as_stable_passes_at_the_end_of_the_bake_and_not_before() -> None:
    good = window(10, engine=0), window(90)
    assert bake(CANARY, *good, until_s=59).kind is VerdictKind.HOLD
    verdict = bake(CANARY, *good)
    assert verdict.kind is VerdictKind.PASS
    assert verdict.reason == "the gates held: 60 of 60 s, 600 requests of the candidate"


def test_many_more_errors_are_a_breach_long_before_the_end() -> None:
    verdict = bake(CANARY, window(20, engine=10), window(180, engine=1))
    assert verdict.kind is VerdictKind.BREACH
    assert 10 <= verdict.evidence.elapsed_s <= 15
    assert verdict.reason.startswith("50.00% of the candidate's requests failed, 0.56% of stable's: 49.44% more")


def test_a_candidate_that_hardly_ever_answers_is_a_breach_after_seconds() -> None:
    verdict = bake(CANARY, window(20, engine=18), window(180, engine=1))
    assert (verdict.kind, verdict.evidence.elapsed_s) == (VerdictKind.BREACH, 5)


def test_errors_within_the_floor_are_let_pass_however_certain_they_are() -> None:
    verdict = bake(CANARY, window(10_000, engine=40), window(10_000))
    assert verdict.kind is VerdictKind.PASS
    measured = finding(verdict, "rollout.errors").measured
    assert isinstance(measured, dict)
    assert measured["chance"] < 1e-9  # type: ignore[operator]


def test_what_clients_spoil_themselves_is_no_error_of_the_candidate() -> None:
    verdict = bake(CANARY, window(20, bad_request=15), window(180))
    assert verdict.kind is VerdictKind.PASS
    assert (verdict.evidence.candidate.requests, verdict.evidence.candidate.errors) == (300, 0)


def test_a_p95_twice_as_long_is_a_breach() -> None:
    verdict = bake(CANARY, window(20, latency_ms=20), window(180))
    assert verdict.kind is VerdictKind.BREACH
    assert [found.check for found in verdict.evidence.breaches] == ["rollout.latency_p95"]
    assert 20 <= verdict.evidence.elapsed_s < 60


def test_latency_within_the_floor_is_let_pass() -> None:
    assert bake(CANARY, window(1000, latency_ms=12), window(1000)).kind is VerdictKind.PASS


def test_half_a_millisecond_is_let_pass_as_the_way_to_the_candidate_takes_it() -> None:
    assert bake(CANARY, window(1000, latency_ms=0.6), window(1000, latency_ms=0.3)).kind is VerdictKind.PASS


@pytest.mark.parametrize("bad_second", [3, 30, 58])
def test_one_bad_second_is_no_breach(bad_second: int) -> None:
    course, own, other = Course(), Window(), Window()
    for second in range(1, 61):
        is_bad = second == bad_second
        own = own.plus(window(100, latency_ms=200 if is_bad else 10, engine=60 if is_bad else 0))
        other = other.plus(window(900))
        course, verdict = judge(CANARY, course, Sight(float(second), own, other))
    assert verdict.kind is VerdictKind.PASS


def test_a_candidate_that_turns_bad_later_is_found() -> None:
    course, own, other = Course(), Window(), Window()
    for second in range(1, 61):
        own, other = own.plus(window(100, engine=50 if second > 15 else 0)), other.plus(window(900))
        course, verdict = judge(CANARY, course, Sight(float(second), own, other))
        if verdict.kind is not VerdictKind.HOLD:
            break
    assert verdict.kind is VerdictKind.BREACH


def test_one_invalid_output_is_a_breach_at_once() -> None:
    verdict = bake(CANARY, window(1, invalid_output=1), window(9))
    assert verdict.kind is VerdictKind.BREACH
    assert verdict.evidence.elapsed_s == 1
    assert verdict.reason.startswith("1 of the candidate's answers held invalid outputs: expected none")


def test_an_invalid_output_that_stable_gives_too_is_one_error_among_others() -> None:
    verdict = bake(CANARY, window(10, invalid_output=0), window(90, invalid_output=1))
    assert verdict.kind is VerdictKind.PASS


def test_a_hard_limit_that_was_measured_elsewhere_is_a_breach_at_once() -> None:
    limit = Finding(check="rollout.memory_growth", outcome=Outcome.FAILED, summary="it grew", reason="by too much")
    _, verdict = judge(CANARY, Course(), Sight(1.0, window(1)), [limit])
    assert (verdict.kind, verdict.reason) == (VerdictKind.BREACH, "it grew: by too much")


def test_a_canary_that_nobody_uses_holds_until_its_deadline_and_then_fails() -> None:
    gates = Gates(deadline_s=30)
    terms = replace(CANARY, gates=gates)
    _, waiting = judge(terms, Course(), Sight(89.0, window(20), window(5000)))
    assert waiting.kind is VerdictKind.HOLD
    assert waiting.reason == (
        "waiting for requests: 89 of 60 s, 20 requests of the candidate; aborted at 90 s with fewer than 100"
    )
    _, late = judge(terms, Course(), Sight(90.0, window(20), window(5000)))
    assert late.kind is VerdictKind.BREACH
    assert late.reason == (
        "too few requests to compare the two revisions: expected min_samples = 100 requests of the candidate, found 20 "
        f"after deadline_s (30 s) beyond the bake; {MORE_REQUESTS}"
    )
    assert all(word in MORE_REQUESTS for word in ("share", "deadline_s", "min_samples", "sticky_header"))


def test_samples_that_come_while_a_canary_holds_decide_it() -> None:
    assert bake(CANARY, window(1), window(19), until_s=99).kind is VerdictKind.HOLD
    verdict = bake(CANARY, window(1), window(19), until_s=100)
    assert (verdict.kind, verdict.evidence.elapsed_s) == (VerdictKind.PASS, 100)


def test_after_promotion_too_few_requests_are_no_reason_to_go_back() -> None:
    terms = replace(CANARY, past=window(5000))
    verdict = bake(terms, window(1))
    assert verdict.kind is VerdictKind.PASS
    assert verdict.reason.startswith("the hard limits held, the rest was not judged: expected min_samples = 100")


def test_after_promotion_the_candidate_is_held_against_the_past() -> None:
    terms = replace(CANARY, past=window(5000, engine=40))
    assert bake(terms, window(100, engine=1)).kind is VerdictKind.PASS
    worse = bake(terms, window(100, engine=20))
    assert (worse.kind, worse.evidence.bake) == (VerdictKind.BREACH, "watch")


def test_the_first_revision_of_a_deployment_has_only_the_hard_limits() -> None:
    terms = Terms(candidate=1, stable=None, gates=Gates(), bake_s=60.0, past=Window())
    assert bake(terms, window(100, engine=90)).kind is VerdictKind.PASS
    assert bake(terms, window(100, invalid_output=1)).kind is VerdictKind.BREACH


def test_the_more_bakes_a_rollout_has_the_smaller_is_the_level_of_each() -> None:
    def level(phases: int) -> object:
        limit = finding(bake(replace(CANARY, phases=phases), window(10), window(90)), "rollout.errors").limit
        assert isinstance(limit, dict)
        return limit["level"]

    assert level(1) == pytest.approx(0.005)
    assert level(4) == pytest.approx(0.00125)


def test_evidence_goes_through_json_and_tells_itself_in_words() -> None:
    evidence = bake(CANARY, window(20, engine=18), window(180, engine=1)).evidence
    assert Evidence.model_validate_json(json.dumps(evidence.model_dump(mode="json"))) == evidence
    assert evidence.sentences[:2] == (
        "the candidate (revision 2): 100 requests, 90 errors, p95 12.1 ms",
        "stable (revision 1): 900 requests, 5 errors, p95 12.1 ms",
    )
