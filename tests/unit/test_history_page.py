"""What the person on call reads of a history: one short line an event, and which revision a report is of."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path

import pytest
from tests.fakes.stage import Stage

from hyperion.cli.render import make_console
from hyperion.cli.render_deployment import show_history
from hyperion.cli.render_event import told
from hyperion.cli.render_revision import show_revision
from hyperion.domain.confinement import Protection
from hyperion.domain.document import JsonValue
from hyperion.domain.event import START, Event, EventDraft, EventKind
from hyperion.domain.evidence import ArmFigures, Evidence
from hyperion.domain.finding import Finding, Outcome, Report, in_short
from hyperion.domain.history import revision_of
from hyperion.serving.record import DeploymentRecord
from hyperion.usecases.history import read_history, read_revision

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
PROTECTIONS = (
    Protection(name="file_access", in_force=True, detail="Landlock 4: " + "every path that may be read, " * 20),
    Protection(name="system_calls", in_force=True, detail="seccomp refuses sockets, programs, forks"),
    Protection(name="memory", in_force=False, detail="no limit by the kernel: no control group was delegated"),
)


def evidence(outcome: Outcome) -> Evidence:
    stable, candidate = (
        ArmFigures(revision=n, requests=100 * n, errors=0, error_ratio=0.0, failures={}, p50_ms=1.0, p95_ms=1.5 * n)
        for n in (1, 2)
    )
    findings = (
        Finding(check="rollout.errors", outcome=Outcome.PASSED, summary="0 % failed"),
        Finding(check="rollout.latency_p95", outcome=outcome, summary="p95 is 3 ms"),
    )
    return Evidence(
        bake="canary", elapsed_s=10.0, looks=2, candidate=candidate, stable=stable, findings=findings
    )  # fmt: skip


def event(kind: EventKind, minute: int = 0, revision: int = 1, **data: JsonValue) -> Event:
    draft = EventDraft(kind=kind, deployment="tiny", revision=revision, actor="supervisor", data=data)
    return draft.after(START, NOON + timedelta(minutes=minute))


def report(kind: str, minute: int) -> Report:
    return Report(kind=kind, subject=None, created_at=NOON + timedelta(minutes=minute), findings=())


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    stage = Stage(tmp_path)
    stage.deploy()
    return stage


def history_of(stage: Stage) -> str:
    page = StringIO()
    show_history(make_console(page), read_history(stage.host, "tiny"))
    return page.getvalue()


def revision_page(stage: Stage) -> str:
    page = StringIO()
    show_revision(make_console(page), read_revision(stage.host, "tiny", 1))
    return page.getvalue()


def test_what_confines_workers_is_counted_and_what_is_missing_is_named(stage: Stage) -> None:
    DeploymentRecord(stage.ledger, "tiny").confined(1, PROTECTIONS)

    (row,) = (row for row in history_of(stage).splitlines() if "workers.confined" in row)

    assert row.endswith("  2 of 3 protections in force; missing: cgroup; why: --revision 1")


def test_where_all_is_in_force_nothing_else_is_said() -> None:
    confined = event(EventKind.WORKERS_CONFINED, in_force="file_access, memory", missing="nothing")

    assert told(confined) == "2 of 2 protections in force"


@pytest.mark.parametrize(
    ("after", "told_of"),
    [
        (1_048_576, "workers 2 took 10.0 MiB, all processes hold 9.0 MiB less now"),
        (11_534_336, "workers 2 took 10.0 MiB, all processes hold 1.0 MiB more now"),
        (None, "workers 2, taken_bytes 10485760, host_before_bytes 10485760"),
    ],
)
def test_what_an_unloaded_revision_gave_back_is_told_in_mebibytes(after: int | None, told_of: str) -> None:
    data: dict[str, JsonValue] = {"taken_bytes": 10 * 2**20, "host_before_bytes": 10 * 2**20}

    assert told(event(EventKind.WORKERS_UNLOADED, workers=2, **data, host_after_bytes=after)) == told_of


def test_a_protection_of_a_later_version_keeps_its_name() -> None:
    assert "missing: moat" in told(event(EventKind.WORKERS_CONFINED, in_force="nothing", missing="moat"))


def test_the_revisions_own_page_says_why_a_protection_is_missing(stage: Stage) -> None:
    DeploymentRecord(stage.ledger, "tiny").confined(1, PROTECTIONS)

    page = revision_page(stage)

    assert "cgroup    no limit by the kernel: no control group was delegated" in page


def test_gates_that_held_are_told_with_their_figures_in_the_line_of_their_event() -> None:
    held = evidence(Outcome.PASSED).model_dump(mode="json")

    assert told(event(EventKind.ROLLOUT_CANARY, step=1, share=0.25, evidence=held)) == (
        "step 1, share 0.25, 2 of 2 gates held over 10 s "
        "(candidate 200 requests, 0 errors, p95 3 ms; stable 100 requests, 0 errors, p95 1.5 ms)"
    )


def test_gates_that_broke_are_named_in_the_line_of_their_event() -> None:
    broken = evidence(Outcome.FAILED).model_dump(mode="json")

    assert "broken: rollout.latency_p95 over 10 s" in told(event(EventKind.ROLLOUT_ALERTED, evidence=broken))


def test_a_history_spells_out_breaches_alone_and_a_revisions_page_everything(stage: Stage) -> None:
    for kind, outcome in (
        (EventKind.ROLLOUT_FINISHED, Outcome.PASSED),
        (EventKind.ROLLOUT_ALERTED, Outcome.FAILED),
    ):
        data: dict[str, JsonValue] = {"evidence": evidence(outcome).model_dump(mode="json")}
        stage.ledger.append(EventDraft(kind=kind, deployment="tiny", revision=1, actor="supervisor", data=data))

    assert [row.split(",")[1] for row in history_of(stage).splitlines() if row.startswith("evidence of")] == [
        " rollout.alerted of revision 1"
    ]
    assert revision_page(stage).count("evidence of event") == 2


def test_what_a_candidate_proved_before_its_promotion_stands_in_one_line() -> None:
    golden = Finding(check="model.golden", outcome=Outcome.PASSED, summary="golden request 'a' gives what is expected")
    p99 = Finding(check="performance.latency_p99", outcome=Outcome.PASSED, summary="99 % take at most 1.2 ms")
    skipped = Finding(check="resources.memory", outcome=Outcome.SKIPPED, summary="not known")

    assert in_short([golden, p99]) == "golden request 'a' gives what is expected; 99 % take at most 1.2 ms"
    assert in_short([golden, golden, skipped]) == "model.golden: 2 of 2 passed; skipped resources.memory: not known"


class TestRevisionOfAReport:
    EVENTS = (
        event(EventKind.ROLLOUT_STARTED, 1, 1, checklist=report("checklist", 0).model_dump(mode="json")),
        event(EventKind.ROLLOUT_PROMOTED, 2, 1),
        event(EventKind.ROLLOUT_STARTED, 5, 2, checklist=report("checklist", 4).model_dump(mode="json")),
        event(EventKind.ROLLOUT_PROMOTED, 6, 2),
        event(EventKind.DEPLOYMENT_STOPPED, 8, 2),
    )

    @pytest.mark.parametrize(
        ("kind", "minute", "expected"),
        [
            ("checklist", 0, 1), ("checklist", 4, 2), ("checklist", 3, None),
            ("deployment", 1, None), ("deployment", 3, 1), ("deployment", 5, 1), ("deployment", 7, 2),
            ("deployment", 9, None),
        ],
    )  # fmt: skip
    def test_is_that_of_its_rollout_or_the_one_that_served(self, kind: str, minute: int, expected: int | None) -> None:
        assert revision_of(report(kind, minute), self.EVENTS) == expected

    def test_stands_in_the_table_of_reports(self, stage: Stage) -> None:
        (found,) = read_history(stage.host, "tiny").reports
        stage.ledger.append(
            EventDraft(
                kind=EventKind.ROLLOUT_STARTED, deployment="tiny", revision=7, actor="alice",
                data={"checklist": found.model_dump(mode="json")},
            )
        )  # fmt: skip

        rows = history_of(stage).splitlines()
        place = next(place for place, row in enumerate(rows) if row.startswith("report "))

        assert rows[place].split() == ["report", "kind", "revision", "version", "result"]
        assert rows[place + 1].split()[2:5] == ["checklist", "7", "1.0.0"]


def test_an_event_of_a_later_hyperion_is_shown_as_it_is_and_named_so() -> None:
    draft = EventDraft.model_construct(kind="rollout.mirrored", deployment="shop", actor="me", data={"share": 0.5})  # type: ignore[arg-type]
    assert told(draft.after(START, NOON)) == "of a later Hyperion, which knows this kind, share 0.5"
