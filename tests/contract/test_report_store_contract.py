"""What every report store does, in memory and on disk."""

from __future__ import annotations

from datetime import timedelta, timezone
from pathlib import Path

import pytest
from tests.fakes.clock import START
from tests.fakes.reports import InMemoryReportStore

from hyperion.adapters.files.atomic_file import AtomicFiles
from hyperion.adapters.files.report_store import LocalReportStore
from hyperion.domain.digest import digest_of
from hyperion.domain.finding import Finding, Outcome, Report, Subject
from hyperion.domain.scheme import Agreement, HostMeasurements, Measurements
from hyperion.domain.tuning import Curve, CurvePoint, Tuning
from hyperion.ports import ReportStore


@pytest.fixture(params=["memory", "disk"])
def reports(request: pytest.FixtureRequest, tmp_path: Path) -> ReportStore:
    return InMemoryReportStore() if request.param == "memory" else LocalReportStore(tmp_path, AtomicFiles())


def make_report(kind: str = "memory", seconds: float = 0, summary: str = "within its budget") -> Report:
    return Report(
        kind=kind,
        subject=Subject(name="mlp", version="1.0.0", digest=digest_of(b""), source="a\x1b[31m<b>"),
        created_at=START + timedelta(seconds=seconds),
        findings=(
            Finding(check="memory.peak", outcome=Outcome.PASSED, summary=summary, measured=12.5, limit={"mb": 64}),
        ),
        figures={"peak_bytes": 1024, "p95_ms": None},
        unavailable={"p95_ms": "no samples"},
    )


def test_nothing_was_reported_of_a_new_deployment(reports: ReportStore) -> None:
    assert reports.recent("mlp") == ()


def test_a_report_is_read_as_it_was_saved(reports: ReportStore) -> None:
    report = make_report()

    reports.save("mlp", report)

    assert reports.recent("mlp") == (report,)


def test_the_newest_report_comes_first_whatever_its_time_zone(reports: ReportStore) -> None:
    east = timezone(timedelta(hours=9))
    old, new = make_report(seconds=0), make_report(seconds=0.25)
    new = new.model_copy(update={"created_at": new.created_at.astimezone(east)})

    reports.save("mlp", new)
    reports.save("mlp", old)

    assert reports.recent("mlp") == (new, old)
    assert reports.recent("mlp", limit=1) == (new,)


def test_reports_of_one_moment_are_all_kept_the_last_first(reports: ReportStore) -> None:
    made = [make_report(summary=str(number)) for number in range(12)]

    paths = {reports.save("mlp", report) for report in made}

    assert len(paths) == 12
    assert reports.recent("mlp") == tuple(reversed(made))


def test_reports_are_chosen_by_kind_and_deployment(reports: ReportStore) -> None:
    memory, checklist = make_report("memory"), make_report("checklist", 1)
    reports.save("mlp", memory)
    reports.save("mlp", checklist)
    reports.save("other", make_report("memory", 2))

    assert reports.recent("mlp", "memory") == (memory,)
    assert reports.recent("mlp") == (checklist, memory)
    assert reports.recent("mlp", "performance") == ()


def make_measurements(value: float = 0.995, platform: str = "linux/amd64") -> HostMeasurements:
    agreement = Agreement(measure="cosine", value=value, output="y\x1b[31m", rows=128, golden_rows=0)
    return HostMeasurements(
        digest=digest_of(b""), platform=platform, engine_version="1.23.2", measured_at=START,
        measurements=Measurements(agreement=agreement),
    )  # fmt: skip


def make_tuning(run_ms: float = 2.0, platform: str = "linux/amd64") -> Tuning:
    return Tuning(
        digest=digest_of(b""), platform=platform, engine_version="1.32.0", measured_at=START,
        measured_on="golden request '\x1b[31m'", curve=Curve(points=(CurvePoint(batch=1, run_ms=run_ms),)),
    )  # fmt: skip


def test_the_last_tuning_of_a_package_and_platform_is_kept(reports: ReportStore) -> None:
    first, last, elsewhere = make_tuning(), make_tuning(1.5), make_tuning(platform="linux/arm64")

    for found in (first, last, elsewhere):
        reports.save_tuning(found)

    assert reports.tuning(digest_of(b""), "linux/amd64") == last
    assert reports.tuning(digest_of(b""), "linux/arm64") == elsewhere
    assert reports.tuning(digest_of(b"other"), "linux/amd64") is None


def test_a_package_that_was_not_measured_has_no_measurements(reports: ReportStore) -> None:
    reports.save_measurements(make_measurements())

    assert reports.measurements(digest_of(b"other"), "linux/amd64") is None
    assert reports.measurements(digest_of(b""), "linux/arm64") is None


def test_the_last_measurements_of_a_package_and_platform_are_kept(reports: ReportStore) -> None:
    first, last, elsewhere = make_measurements(), make_measurements(0.999), make_measurements(0.9, "linux/arm64")

    for found in (first, last, elsewhere):
        reports.save_measurements(found)

    assert reports.measurements(digest_of(b""), "linux/amd64") == last
    assert reports.measurements(digest_of(b""), "linux/arm64") == elsewhere
