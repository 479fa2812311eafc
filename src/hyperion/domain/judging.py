"""How a bake is judged: the candidate's requests against the stable revision's, and hard limits that compare nothing.

A breach of the comparison needs three things at once, so that neither chance nor a bad minute is taken for a
regression:

* it is *significant*: chance alone brings it less often than this look's part of α (domain.significance);
* it is *large*: errors beyond ``error_floor``, or a p95 beyond ``latency_floor`` times the reference;
* it *lasts*: it is as large in (nearly) every part of the bake after its first quarter.

α = 0.01 holds for errors and again for latency, over all bakes of a rollout and all looks at each of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from hyperion.domain.evidence import ArmFigures, Evidence, Verdict, VerdictKind
from hyperion.domain.finding import Finding, Outcome
from hyperion.domain.rollout_policy import Gates
from hyperion.domain.significance import chance_of_more_errors, chance_of_quantile, look_levels
from hyperion.domain.traffic_window import QUANTILE, Sight, Window

ALPHA = 0.01
"""How often a candidate that is as good as stable may be called worse, for errors and again for latency."""
INVALID_OUTPUT = "invalid_output"
LATENCY_SLACK_S = 0.0005
"""What a canary's answers may take longer in any case: they cross one more socket."""
KEPT_SIGHTS = 64
"""Even, so that the latest one stays where every second one goes."""
LOOK_FACTOR = 1.5
"""The next look is due at so many times the candidate's requests of the last one."""
FIRST_LOOK_S = 5.0
"""What the very first seconds show may be the switch's own."""
ERRORS_SPAN_S, LATENCY_SPAN_S = 10.0, 20.0
"""How long a bake must have lasted, or half of it where it is shorter, before it is judged by its errors and by its
latency: every host has bad seconds."""
GROSS_ERRORS = 0.5
"""More than this share of errors beyond stable's is judged from the first look on."""
MORE_REQUESTS = (
    "give the step a larger share, gates a longer deadline_s or a lower min_samples; with canary.sticky_header a "
    "client stays on one side, so few clients may bring the candidate nothing"
)
"""What brings a canary to its decision."""
PARTS = (2, 8)
"""Fewest and most parts of a bake in which a regression must show."""
ERRORS_PER_PART, REQUESTS_PER_PART = 10, 40
"""There are as many parts as have so many of the candidate's errors, or requests for latency, each."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What a bake is judged by.

    Attributes:
        candidate: Its revision.
        stable: The revision it is compared with; None where there is none.
        gates: Of the candidate's config.
        bake_s: How long it lasts.
        past: What the stable revision answered before it was replaced, after promotion; None during a canary, when
            both sides are seen over the same time.
        phases: Bakes of the whole rollout, which share α.
    """

    candidate: int
    stable: int | None
    gates: Gates
    bake_s: float
    past: Window | None = None
    phases: int = 1


@dataclass(frozen=True, slots=True)
class Course:
    """How far the judging of a bake has come.

    Attributes:
        looks: How many there were.
        looked_at: Requests of the candidate at the last one.
        sights: Some of what was seen, oldest first; the first is the begin.
        findings: Of the last look.
    """

    looks: int = 0
    looked_at: int = 0
    sights: tuple[Sight, ...] = (Sight(0.0, Window()),)
    findings: tuple[Finding, ...] = ()


def judge(terms: Terms, course: Course, sight: Sight, limits: Sequence[Finding] = ()) -> tuple[Course, Verdict]:
    """What to think of the bake now.

    Args:
        terms: What it is judged by.
        course: What the call before returned.
        sight: What was answered so far; later than every one before.
        limits: Findings on the hard limits that were measured elsewhere: a failed one is a breach at once.
    """
    course = replace(course, sights=_kept(course.sights, sight))
    hard = (check_invalid_outputs(terms, sight), *limits)
    over = sight.elapsed_s >= terms.bake_s
    samples = _check_samples(terms, sight)
    if samples is None:
        if over or _is_look_due(terms, course, sight):
            course = _look(terms, course, sight, last=over)
        kind = VerdictKind.PASS if over else VerdictKind.HOLD
    else:
        hard = (*hard, samples)
        kind = VerdictKind.PASS if over and samples.outcome is Outcome.SKIPPED else VerdictKind.HOLD
    findings = (*hard, *course.findings)
    failed = [finding for finding in findings if finding.outcome is Outcome.FAILED]
    evidence = _evidence(terms, course, sight, findings)
    if failed:
        reason = "; ".join(f"{finding.summary}: {finding.reason}" for finding in failed)
        return course, Verdict(kind=VerdictKind.BREACH, reason=reason, evidence=evidence)
    return course, Verdict(kind=kind, reason=_calm_reason(terms, sight, kind, samples), evidence=evidence)


def _is_look_due(terms: Terms, course: Course, sight: Sight) -> bool:
    early = sight.elapsed_s < min(FIRST_LOOK_S, terms.bake_s / 2)
    return not early and sight.candidate.judged >= LOOK_FACTOR * course.looked_at


def check_invalid_outputs(terms: Terms, sight: Sight) -> Finding:
    """NaN or infinity where the golden outputs have none: one is enough, unless stable gives them too."""
    count = sight.candidate.failures.get(INVALID_OUTPUT, 0)
    usual = INVALID_OUTPUT in _reference(terms, sight).failures
    failed = count > 0 and not usual
    return Finding(
        check="rollout.invalid_outputs",
        outcome=Outcome.FAILED if failed else Outcome.PASSED,
        summary=f"{count} of the candidate's answers held invalid outputs",
        reason="expected none: the golden outputs are finite, and so was all that the stable revision answered"
        if failed
        else None,
        measured=count,
        limit=None if usual else 0,
    )


def _reference(terms: Terms, sight: Sight) -> Window:
    """What the candidate is held against: the past, or the other side's answers over the same time."""
    return sight.stable if terms.past is None else terms.past


def _kept(sights: tuple[Sight, ...], sight: Sight) -> tuple[Sight, ...]:
    """With ``sight``; where they become too many, every second one goes, so that they stay spread over the bake."""
    kept = (*sights, sight)
    return kept if len(kept) <= KEPT_SIGHTS else kept[::2]


def _check_samples(terms: Terms, sight: Sight) -> Finding | None:
    """Whether there is too little to compare; None where there is enough.

    A canary that nobody uses shows nothing, so it is not promoted: it fails at its deadline. After promotion too few
    requests are no reason to go back: the check is skipped.
    """
    needed, found = terms.gates.min_samples, sight.candidate.judged
    most = _reference(terms, sight).judged
    if found >= needed and most >= needed:
        return None
    lasting = terms.past is None and terms.stable is not None
    too_late = lasting and sight.elapsed_s >= terms.bake_s + terms.gates.deadline_s
    outcome = Outcome.SKIPPED if not lasting else Outcome.FAILED if too_late else Outcome.WARNED
    whose = "the candidate" if found < needed else "the stable revision"
    return Finding(
        check="rollout.samples",
        outcome=outcome,
        summary="too few requests to compare the two revisions",
        reason=f"expected min_samples = {needed} requests of {whose}, found {found if found < needed else most}"
        + (f" after deadline_s ({terms.gates.deadline_s:g} s) beyond the bake; {MORE_REQUESTS}" if too_late else ""),
        measured=found if found < needed else most,
        limit=needed,
        hint=MORE_REQUESTS if too_late else None,
    )


def _look(terms: Terms, course: Course, sight: Sight, *, last: bool) -> Course:
    """Hold the figures against each other."""
    level = look_levels(ALPHA / terms.phases, course.looks)[last]
    findings = (_check_errors(terms, course, sight, level), _check_latency(terms, course, sight, level))
    return replace(course, looks=course.looks + 1, looked_at=sight.candidate.judged, findings=findings)


def _lasts(terms: Terms, course: Course, parts: int, is_large: Callable[[Window, Window], bool]) -> bool:
    """Whether the bake after its first quarter shows it in every part; of five parts or more, one may be without.

    The parts hold equally many requests of the candidate, as near as what was kept of the bake allows.
    """
    fewest, most = PARTS
    parts = max(fewest, min(most, parts))
    requests = course.sights[-1].candidate.judged
    edges = [_nearest(course.sights, requests * (0.25 + 0.75 * place / parts)) for place in range(parts + 1)]
    cut = [(start, end) for start, end in pairwise(edges) if end.candidate.judged > start.candidate.judged]
    large = 0
    for start, end in cut:
        other = end.stable.minus(start.stable) if terms.past is None else terms.past
        large += is_large(end.candidate.minus(start.candidate), other)
    return large >= len(cut) - len(cut) // 5


def _nearest(sights: tuple[Sight, ...], requests: float) -> Sight:
    return min(sights, key=lambda sight: abs(sight.candidate.judged - requests))


def _check_errors(terms: Terms, course: Course, sight: Sight, level: float) -> Finding:
    gates, own, other = terms.gates, sight.candidate, _reference(terms, sight)

    def is_large(part: Window, reference: Window) -> bool:
        return part.error_ratio - reference.error_ratio > gates.error_floor

    chance = chance_of_more_errors(own.errors, own.judged, other.errors, other.judged)
    beyond = own.error_ratio - other.error_ratio
    long_enough = beyond > GROSS_ERRORS or sight.elapsed_s >= min(ERRORS_SPAN_S, terms.bake_s / 2)
    parts = own.errors // ERRORS_PER_PART
    worse = chance < level and long_enough and is_large(own, other) and _lasts(terms, course, parts, is_large)
    return Finding(
        check="rollout.errors",
        outcome=Outcome.FAILED if worse else Outcome.PASSED,
        summary=f"{own.error_ratio:.2%} of the candidate's requests failed, {other.error_ratio:.2%} of stable's",
        reason=_in_words(f"{beyond:.2%} more", f"error_floor = {gates.error_floor:.2%}", chance, level)
        if worse
        else None,
        measured={"candidate": own.error_ratio, "stable": other.error_ratio, "chance": chance},
        limit={"floor": gates.error_floor, "level": level},
    )


def _check_latency(terms: Terms, course: Course, sight: Sight, level: float) -> Finding:
    gates, candidate, reference = terms.gates, sight.candidate.latency, _reference(terms, sight).latency
    own, usual = candidate.quantile_s(QUANTILE), reference.quantile_s(QUANTILE)
    if own is None or usual is None:
        summary, reason = "latency cannot be compared", "one side has no request whose latency is known"
        return Finding(check="rollout.latency_p95", outcome=Outcome.SKIPPED, summary=summary, reason=reason)
    floor = gates.latency_floor

    def is_large(part: Window, other: Window) -> bool:
        return (part.p95_s or 0.0) > floor * ((other.p95_s or usual) + LATENCY_SLACK_S)

    chance = 1.0  # of what is not larger than what is let pass, where nobody needs it exactly
    if is_large(sight.candidate, _reference(terms, sight)):
        chance = chance_of_quantile(candidate, reference, QUANTILE, floor, LATENCY_SLACK_S)
    long_enough = sight.elapsed_s >= min(LATENCY_SPAN_S, terms.bake_s / 2)
    parts = candidate.total // REQUESTS_PER_PART
    worse = chance < level and long_enough and _lasts(terms, course, parts, is_large)
    return Finding(
        check="rollout.latency_p95",
        outcome=Outcome.FAILED if worse else Outcome.PASSED,
        summary=f"the candidate's p95 is {1000 * own:.3g} ms, stable's {1000 * usual:.3g} ms",
        reason=_in_words(f"{own / usual:.2f} times as long", f"latency_floor = {floor:g}", chance, level)
        if worse
        else None,
        measured={"candidate_ms": 1000 * own, "stable_ms": 1000 * usual, "ratio": own / usual, "chance": chance},
        limit={"floor": floor, "slack_ms": 1000 * LATENCY_SLACK_S, "level": level},
    )


def _in_words(excess: str, let_pass: str, chance: float, level: float) -> str:
    shown = "under 1e-12" if chance < 1e-12 else f"{chance:.1g}"
    return f"{excess}, and it lasts; let pass is {let_pass} (by chance {shown}; the level of this look is {level:.1g})"


def _calm_reason(terms: Terms, sight: Sight, kind: VerdictKind, samples: Finding | None) -> str:
    so_far = f"{sight.elapsed_s:.0f} of {terms.bake_s:g} s, {sight.candidate.judged} requests of the candidate"
    if samples is None:
        return f"the gates held: {so_far}" if kind is VerdictKind.PASS else f"baking: {so_far}"
    if kind is VerdictKind.PASS:
        return f"the hard limits held, the rest was not judged: {samples.reason}"
    if sight.elapsed_s < terms.bake_s:
        return f"baking: {so_far}"
    until_s = terms.bake_s + terms.gates.deadline_s
    return f"waiting for requests: {so_far}; aborted at {until_s:g} s with fewer than {terms.gates.min_samples}"


def _evidence(terms: Terms, course: Course, sight: Sight, findings: tuple[Finding, ...]) -> Evidence:
    return Evidence(
        bake="canary" if terms.past is None else "watch",
        elapsed_s=round(sight.elapsed_s, 3),
        looks=course.looks,
        candidate=_figures(terms.candidate, sight.candidate),
        stable=None if terms.stable is None else _figures(terms.stable, _reference(terms, sight)),
        findings=findings,
    )


def _figures(revision: int, window: Window) -> ArmFigures:
    p50_s, p95_s = window.latency.quantile_s(0.5), window.p95_s
    return ArmFigures(
        revision=revision,
        requests=window.judged,
        errors=window.errors,
        error_ratio=window.error_ratio if window.judged else None,
        failures=dict(sorted(window.failures.items())),
        p50_ms=None if p50_s is None else 1000 * p50_s,
        p95_ms=None if p95_s is None else 1000 * p95_s,
    )
