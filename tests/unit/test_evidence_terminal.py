"""What ``history`` tells people of the evidence that a rollout was decided by."""

from __future__ import annotations

import io
from datetime import UTC, datetime

from rich.console import Console

from hyperion.cli.render_evidence import show_evidence
from hyperion.domain.document import JsonValue
from hyperion.domain.event import START, Event, EventDraft, EventKind
from hyperion.domain.evidence import ArmFigures, Evidence
from hyperion.domain.finding import Finding, Outcome

EVIDENCE = Evidence(
    bake="canary",
    elapsed_s=12.0,
    looks=2,
    candidate=ArmFigures(
        revision=2, requests=200, errors=20, error_ratio=0.1, failures={"engine": 20}, p50_ms=8.0, p95_ms=21.0
    ),
    stable=ArmFigures(revision=1, requests=1800, errors=0, error_ratio=0.0, failures={}, p50_ms=8.0, p95_ms=20.0),
    findings=(
        Finding(check="rollout.errors", outcome=Outcome.FAILED, summary="10.00% failed", reason="\x1b[31mtoo many"),
        Finding(check="rollout.latency_p95", outcome=Outcome.PASSED, summary="p95 is as before"),
    ),
)


def shown(evidence: JsonValue) -> str:
    draft = EventDraft(
        kind=EventKind.ROLLOUT_ABORTED, deployment="shop", revision=2, actor="a", data={"evidence": evidence}
    )
    event: Event = draft.after(START, datetime(2026, 1, 2, tzinfo=UTC))
    page = io.StringIO()
    show_evidence(Console(file=page, width=120, markup=False, highlight=False), [event])
    return page.getvalue()


def test_evidence_is_told_in_words_and_cleaned() -> None:
    assert shown(EVIDENCE.model_dump(mode="json")) == (
        "evidence of event 1, rollout.aborted of revision 2\n"
        "  the candidate (revision 2): 200 requests, 20 errors, p95 21 ms\n"
        "  stable (revision 1): 1800 requests, 0 errors, p95 20 ms\n"
        "  10.00% failed: \\x1b[31mtoo many\n"
        "  p95 is as before\n"
        "\n"
    )


def test_what_is_no_evidence_of_ours_is_left_out() -> None:
    assert shown(None) == ""
    assert shown({"of": "a later version"}) == ""
