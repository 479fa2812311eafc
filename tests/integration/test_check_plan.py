"""The pre-deployment checklist: every item of the guide, in its order, with what it found."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.fakes.checks_host import ScriptedSupervisor, StatedFacts, activate, checks_host, damaged, packaged, status_of
from tests.fakes.reporter import CollectingReporter
from tests.models import mlp

from hyperion.adapters.engine.onnxruntime_engine import OnnxRuntimeEngine
from hyperion.domain.config import DeploymentConfig, MemoryBudget, Serve
from hyperion.domain.deployment import Revision
from hyperion.domain.finding import Finding, Outcome, Report
from hyperion.domain.gate import decide
from hyperion.domain.window import TimeWindow
from hyperion.ports import Host
from hyperion.verification.plan import check_plan

GUIDE = (
    "integrity.structure", "integrity.digests", "integrity.contents", "model.configs", "plan.version_step",
    "model.load", "model.golden", "model.outputs", "plan.performance", "plan.memory",
    "plan.system_requirements", "plan.dependencies", "plan.memory_settings", "plan.host_memory", "plan.cores",
    "plan.monitoring", "plan.window", "plan.rollback", "plan.drain", "plan.steps", "plan.team", "plan.environment",
    "plan.runbook",
)  # fmt: skip


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("package")
    return packaged(folder, checks_host(folder))


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return checks_host(tmp_path)


def plan(host: Host, package: Path, active: Revision | None = None, **config: object) -> Report:
    complete = DeploymentConfig.model_validate({"name": "shop", **config})
    with host.packages.open(package) as opened:
        return check_plan(host, package, opened, complete, active, CollectingReporter())


def finding(report: Report, check: str) -> Finding:
    return next(found for found in report.findings if found.check == check)


def outcome(report: Report, check: str) -> Outcome:
    return finding(report, check).outcome


def test_the_checklist_holds_every_item_of_the_guide_in_its_order(host: Host, package: Path) -> None:
    report = plan(host, package)

    assert report.kind == "checklist"
    assert tuple(found.check for found in report.findings) == GUIDE
    assert decide(report.findings).allowed


def test_what_only_people_know_is_manual_and_names_its_field(host: Host, package: Path) -> None:
    report = plan(host, package)

    manual = {found.check: found.entry for found in report.findings if found.outcome is Outcome.MANUAL}
    assert manual == {
        "plan.memory_settings": "memory.budget_mb", "plan.window": "window", "plan.steps": "notes",
        "plan.team": "owner", "plan.environment": "environment", "plan.runbook": "runbook",
    }  # fmt: skip


def test_what_deployment_json_records_passes_with_its_value(host: Host, package: Path) -> None:
    report = plan(
        host, package, window=TimeWindow(zone="UTC"), notes="as the wiki says", team="ranking", environment="staging",
        runbook="https://x.test/r", memory=MemoryBudget(budget_mb=2000),
    )  # fmt: skip

    assert {found.check for found in report.findings if found.outcome is Outcome.MANUAL} == set()
    assert "every day 00:00-24:00 UTC" in finding(report, "plan.window").summary
    assert finding(report, "plan.team").measured == {"team": "ranking"}


def test_a_window_in_words_is_shown_and_left_to_people(host: Host, package: Path) -> None:
    report = plan(host, package, window="Sunday 02:00")

    assert outcome(report, "plan.window") is Outcome.MANUAL
    assert "Sunday 02:00" in finding(report, "plan.window").summary


def test_a_damaged_package_fails_and_is_not_run(host: Host, package: Path, tmp_path: Path) -> None:
    report = plan(host, damaged(package, tmp_path))

    assert not report.ok
    assert "model.load" not in {found.check for found in report.findings}


def test_speed_and_memory_are_measured_figures(host: Host, package: Path) -> None:
    report = plan(host, package)

    speed, memory = finding(report, "plan.performance").measured, finding(report, "plan.memory").measured
    assert isinstance(speed, dict)
    assert isinstance(memory, int)
    assert speed["runs"] == 5
    assert memory > 20 * 1024**2


def test_a_model_over_its_budget_or_over_the_hosts_memory_fails(host: Host, package: Path, tmp_path: Path) -> None:
    small = replace(host, facts=StatedFacts(tmp_path, memory_available=1024**2))

    over_budget = plan(host, package, memory=MemoryBudget(budget_mb=10))
    over_host = plan(small, package)

    assert finding(over_budget, "plan.memory").reason == "memory.budget_mb is 10"
    assert finding(over_host, "plan.memory").reason == "only 1 MiB are available on this host"
    assert not decide(over_budget.findings).allowed
    assert decide(over_budget.findings, rescue=True).allowed


def test_a_limit_below_the_budget_is_pointed_out(host: Host, package: Path) -> None:
    report = plan(host, package, memory=MemoryBudget(budget_mb=512, limit_mb=256))

    assert outcome(report, "plan.memory_settings") is Outcome.WARNED
    assert finding(report, "plan.memory_settings").entry == "memory.limit_mb"


def test_a_port_that_another_process_has_fails_with_its_code(host: Host, package: Path, tmp_path: Path) -> None:
    taken = replace(host, facts=StatedFacts(tmp_path, port_free=False))

    report = plan(taken, package, serve=Serve(port=8080))

    assert outcome(report, "plan.monitoring") is Outcome.FAILED
    assert "host.port_in_use" in str(finding(report, "plan.monitoring").reason)


def test_the_deployments_own_port_is_no_obstacle(host: Host, package: Path, tmp_path: Path) -> None:
    active = activate(host, package, port=8080)
    control = ScriptedSupervisor(status_of(host, active))
    taken = replace(host, facts=StatedFacts(tmp_path, port_free=False), control=control)

    same = plan(taken, package, active, serve=Serve(port=8080))
    other = plan(taken, package, active, serve=Serve(port=8081))
    free = plan(taken, package, active, serve=Serve(port=0))

    assert outcome(same, "plan.monitoring") is Outcome.PASSED
    assert outcome(other, "plan.monitoring") is Outcome.FAILED
    assert outcome(free, "plan.monitoring") is Outcome.PASSED


def test_a_port_that_workers_hold_whose_supervisor_died_is_no_obstacle(
    host: Host, package: Path, tmp_path: Path
) -> None:
    active = activate(host, package, port=8080)
    gone = ScriptedSupervisor()
    gone.left_orphans = True
    taken = replace(host, facts=StatedFacts(tmp_path, port_free=False), control=gone)

    report = plan(taken, package, active, serve=Serve(port=8080))

    assert outcome(report, "plan.monitoring") is Outcome.PASSED


def test_a_signature_that_changes_asks_for_a_version_that_says_so(host: Host, package: Path, tmp_path: Path) -> None:
    active = activate(host, package)
    model = mlp(0)
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_param = "rows"
    minor = packaged(tmp_path, host, "minor", model=model, version="1.1.0")
    major = packaged(tmp_path, host, "major", model=model, version="2.0.0")

    assert outcome(plan(host, minor, active), "plan.version_step") is Outcome.FAILED
    assert outcome(plan(host, major, active), "plan.version_step") is Outcome.PASSED
    assert outcome(plan(host, package, active), "plan.version_step") is Outcome.PASSED


def test_more_threads_than_cores_warn(host: Host, package: Path) -> None:
    assert outcome(plan(host, package, workers=64, threads=8), "plan.cores") is Outcome.WARNED


class ForgetfulEngine(OnnxRuntimeEngine):
    """Does not list its operators, though it has them."""

    def operators(self) -> frozenset[str]:
        return frozenset()


def test_a_model_that_loads_proves_its_operators_better_than_a_list(host: Host, package: Path) -> None:
    report = plan(replace(host, engine=ForgetfulEngine()), package)

    assert outcome(report, "plan.dependencies") is Outcome.PASSED
