"""``verify deployment``: asked from outside, against an engine that answers as it is told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.fakes.checks_host import (
    EngineInference,
    ScriptedSupervisor,
    activate,
    checks_host,
    packaged,
    status_of,
)
from tests.fakes.reporter import CollectingReporter

from hyperion.domain.config import VerificationConfig
from hyperion.domain.finding import Finding, Outcome, Report
from hyperion.errors import ConflictError, EngineError, NotFoundError
from hyperion.ports import Answer, Host
from hyperion.usecases.verify import verify_deployment

REPORTER = CollectingReporter()
CONFIG = VerificationConfig(samples=10, latency_p95_ms=50, error_ratio=0.2)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("package")
    return packaged(folder, checks_host(folder))


@pytest.fixture
def host(tmp_path: Path, package: Path) -> Host:
    """One deployment, ``shop``, serves the package at revision 1."""
    host = checks_host(tmp_path)
    revision = activate(host, package)
    inference = EngineInference(package)
    return replace(host, control=ScriptedSupervisor(status_of(host, revision)), inference=inference)


def inference(host: Host) -> EngineInference:
    assert isinstance(host.inference, EngineInference)
    return host.inference


def finding(report: Report, check: str) -> Finding:
    return next(found for found in report.findings if found.check == f"deployment.{check}")


def verify(host: Host, package: Path, name: str | None = None) -> Report:
    return verify_deployment(host, package, CONFIG, name, REPORTER)


def test_a_healthy_deployment_passes_and_the_report_is_kept_under_it(host: Host, package: Path) -> None:
    report = verify(host, package)

    assert report.ok
    assert [found.check.removeprefix("deployment.") for found in report.findings] == [
        "active", "ready", "golden", "identity", "latency_p95", "error_ratio",
    ]  # fmt: skip
    assert report.figures["samples"] == 10
    assert report.figures["latency_p95_ms"] == 2.0
    assert inference(host).asked == 11
    assert host.reports.recent("shop") == (report,)


def test_another_package_is_not_active_and_that_is_a_no_and_not_an_error(host: Host, tmp_path: Path) -> None:
    other = packaged(tmp_path, host, "other", seed=1)

    report = verify(host, other)

    assert not report.ok
    assert finding(report, "active").outcome is Outcome.FAILED


def test_a_broken_package_is_a_no(host: Host, tmp_path: Path) -> None:
    (tmp_path / "x.hyperion").write_bytes(b"nothing")

    assert not verify(host, tmp_path / "x.hyperion").ok


def test_a_name_that_no_deployment_has_is_not_found(host: Host, package: Path) -> None:
    with pytest.raises(NotFoundError):
        verify(host, package, "nobody")


def test_several_deployments_of_one_package_ask_for_the_name(host: Host, package: Path) -> None:
    activate(host, package, "second")

    with pytest.raises(ConflictError, match="shop"):
        verify(host, package)
    assert verify(host, package, "shop").ok


def test_without_a_supervisor_it_is_not_ready(host: Host, package: Path) -> None:
    report = verify(replace(host, control=ScriptedSupervisor()), package)

    found = finding(report, "ready")
    assert (found.outcome, found.reason) == (Outcome.FAILED, "no supervisor runs")


def test_a_deployment_that_does_not_serve_says_why(host: Host, package: Path) -> None:
    revision = host.ledger.revision("shop", 1)
    control = ScriptedSupervisor(status_of(host, revision, url=None))

    report = verify(replace(host, control=control), package)

    assert finding(report, "ready").reason == "its worker was given up"


def test_one_that_is_not_ready_says_what_its_probe_met(host: Host, package: Path) -> None:
    inference(host).ready = False

    assert finding(verify(host, package), "ready").reason == "it cannot be reached: nobody listens"


def test_wrong_answers_fail_the_golden_requests(host: Host, package: Path) -> None:
    def wrong(number: int, answer: Answer) -> Answer:
        return replace(answer, outputs={k: v + np.float32(1) for k, v in answer.outputs.items()})

    inference(host).fault = wrong

    assert finding(verify(host, package), "golden").outcome is Outcome.FAILED


def test_failed_requests_count_towards_the_allowed_share(host: Host, package: Path) -> None:
    def every(period: int) -> None:
        error = EngineError("boom", code="inference.failed")
        inference(host).asked = 0
        inference(host).fault = lambda number, answer: error if number > 1 and number % period == 0 else answer

    every(5)
    tolerated = verify(host, package)
    every(2)
    refused = verify(host, package)

    assert finding(tolerated, "error_ratio").outcome is Outcome.PASSED
    assert finding(tolerated, "error_ratio").measured == 0.2
    assert finding(refused, "error_ratio").outcome is Outcome.FAILED
    assert "boom [inference.failed]" in str(finding(refused, "error_ratio").reason)
    assert refused.figures["errors"] == {"inference.failed": 5}


def test_slow_answers_fail_the_latency(host: Host, package: Path) -> None:
    inference(host).latency_ms = 80

    found = finding(verify(host, package), "latency_p95")

    assert (found.outcome, found.measured, found.limit) == (Outcome.FAILED, 80, 50)


def test_no_answer_at_all_gives_no_latency_figure(host: Host, package: Path) -> None:
    inference(host).fault = lambda number, answer: EngineError("boom", code="inference.timeout")

    report = verify(host, package)

    assert not report.ok
    assert report.figures["latency_p95_ms"] is None
    assert report.unavailable["latency_p95_ms"] == "no request was answered"


def test_answers_of_another_revision_are_found_out(host: Host, package: Path) -> None:
    inference(host).revision = 2

    found = finding(verify(host, package), "identity")

    assert found.outcome is Outcome.FAILED
    assert "revision 2" in str(found.reason)


def test_without_golden_requests_a_generated_input_is_sent(tmp_path: Path) -> None:
    host = checks_host(tmp_path)
    plain = packaged(tmp_path, host, golden=False)
    status = status_of(host, activate(host, plain))
    client = EngineInference(plain)
    host = replace(host, control=ScriptedSupervisor(status), inference=client)

    report = verify(host, plain)
    client.fault = lambda number, answer: EngineError("no such shape", code="inference.refused")
    rejected = verify(host, plain)

    assert report.ok
    assert finding(report, "golden").outcome is Outcome.SKIPPED
    assert finding(rejected, "error_ratio").outcome is Outcome.SKIPPED
