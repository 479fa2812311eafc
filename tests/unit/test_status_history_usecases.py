"""stop, status, history and logs: with a supervisor, and from the ledger alone."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from tests.fakes.stage import Stage

from hyperion.adapters.files.atomic_file import AtomicFiles
from hyperion.adapters.store.local_store import LocalPackageStore
from hyperion.cli.render_deployment import show_status
from hyperion.domain.config import Batching, DeploymentConfig
from hyperion.domain.event import EventKind
from hyperion.domain.history import RevisionState
from hyperion.domain.metrics import Histogram, ServingFigures
from hyperion.domain.tuning import BatchingMode, Curve, CurvePoint, Tuning
from hyperion.errors import NotFoundError
from hyperion.usecases.deploy import stop_deployments
from hyperion.usecases.history import read_history, read_logs
from hyperion.usecases.status import read_status


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


# --- stop ---


@pytest.mark.parametrize("running", [True, False])
def test_one_deployment_is_stopped_and_the_others_stay(stage: Stage, running: bool) -> None:
    stage.deploy(0)
    stage.deploy(1, config=DeploymentConfig(name="other"))
    stage.control.running = running

    result = stop_deployments(stage.host, "tiny")

    assert (result.names, result.supervisor_ends) == (("tiny",), False)
    assert stage.active("tiny") is None
    assert stage.active("other") is not None


@pytest.mark.parametrize("running", [True, False])
def test_all_deployments_are_stopped_with_their_events(stage: Stage, running: bool) -> None:
    stage.deploy(0)
    stage.deploy(1, config=DeploymentConfig(name="other"))
    stage.control.running = running

    result = stop_deployments(stage.host, None)

    assert (result.names, result.supervisor_ends) == (("other", "tiny"), running)
    assert len(stage.ledger.events(kinds=[EventKind.DEPLOYMENT_STOPPED])) == 2


def test_a_supervisor_that_ends_meanwhile_leaves_the_stop_to_the_ledger(stage: Stage) -> None:
    stage.deploy()
    stage.control.goes_away = True

    assert stop_deployments(stage.host, None).names == ("tiny",)
    assert stage.active() is None


def test_workers_that_a_killed_supervisor_left_are_stopped_by_the_next_one(stage: Stage) -> None:
    stage.deploy()
    stage.control.running, stage.control.left_orphans = False, True

    assert stop_deployments(stage.host, None).supervisor_ends
    assert stage.active() is None


def test_workers_without_a_supervisor_are_told_of(stage: Stage) -> None:
    stage.deploy()
    stage.control.running, stage.control.left_orphans = False, True

    assert "serve on" in str(read_status(stage.host).deployments[0].trouble)


def test_what_is_stopped_already_is_not_stopped_again(stage: Stage) -> None:
    stage.deploy()
    stop_deployments(stage.host, None)
    head = stage.ledger.head()

    assert stop_deployments(stage.host, "tiny").names == ()
    assert stop_deployments(stage.host, None).names == ()
    assert stage.ledger.head() == head


def test_the_stop_of_an_unknown_deployment_is_not_found(stage: Stage) -> None:
    stage.deploy()

    with pytest.raises(NotFoundError) as refusal:
        stop_deployments(stage.host, "nobody")

    assert refusal.value.code == "deployment.not_found"
    assert stage.active() is not None


# --- status ---


def test_the_status_of_an_empty_host_is_empty(stage: Stage) -> None:
    status = read_status(stage.host)

    assert (status.supervisor, status.deployments) == (None, ())


def test_the_status_comes_from_the_supervisor_where_one_runs(stage: Stage) -> None:
    stage.deploy()

    status = read_status(stage.host)

    (deployment,) = status.deployments
    assert status.supervisor is not None
    assert (deployment.serving, deployment.url, deployment.active) == (True, "http://127.0.0.1:8080", stage.active())


def test_the_status_holds_the_figures_of_what_serves(stage: Stage) -> None:
    digest = stage.deploy().digest
    figures = ServingFigures(
        deployment="tiny", model="tiny", version="1.0.0", revision=1, digest=digest, at=stage.clock.now(),
        uptime_s=1.0, workers=(), requests=7, failures={}, latency=Histogram(), received_bytes=0, sent_bytes=0,
    )  # fmt: skip
    stage.control.figures["tiny"] = figures

    found = read_status(stage.host).figures["tiny"]

    assert (found.requests, found.latency_p95_ms) == (7, None)


@pytest.mark.parametrize("running", [True, False])
@pytest.mark.parametrize(
    ("mode", "told"),
    [
        ("auto", "tiny: each request runs alone: it does not pay: one row takes 4 ms; batches do not pay"),
        ("on", "tiny: requests share runs of up to 16 rows: one row takes 4 ms; batches do not pay"),
        ("off", "tiny: each request runs alone: switched off in deployment.json"),
    ],
)
def test_the_status_says_whether_requests_share_a_run_and_why(
    stage: Stage, running: bool, mode: BatchingMode, told: str
) -> None:
    digest = stage.deploy(config=DeploymentConfig(batching=Batching(mode=mode, max_batch=16))).digest
    measured = Curve(points=(CurvePoint(batch=1, run_ms=4.0), CurvePoint(batch=2, run_ms=8.0)), difference=0.0)
    stage.reports.save_tuning(
        Tuning(
            digest=digest, platform=stage.facts.platform_name(), engine_version="1.32.0",
            measured_at=stage.clock.now(), measured_on="a generated input", curve=measured,
        )
    )  # fmt: skip
    stage.control.running = running

    assert told in shown_status(stage)


def test_the_status_says_how_long_a_row_takes_once(stage: Stage) -> None:
    digest = stage.deploy().digest
    fast = Curve(points=(CurvePoint(batch=1, run_ms=0.02), CurvePoint(batch=8, run_ms=0.04)), difference=0.0)
    stage.reports.save_tuning(
        Tuning(
            digest=digest, platform=stage.facts.platform_name(), engine_version="1.32.0",
            measured_at=stage.clock.now(), measured_on="a generated input", curve=fast,
        )
    )  # fmt: skip

    page = shown_status(stage)

    assert len([line for line in page if "one row takes" in line]) == 1
    assert "tiny: 8 rows at once answer 4.0 times as many" in page


def test_the_status_says_that_nothing_was_measured(stage: Stage) -> None:
    stage.deploy()

    assert "tiny: each request runs alone: nothing was measured on this host" in shown_status(stage)


def test_a_package_that_the_store_lost_leaves_the_rest_of_the_status(stage: Stage) -> None:
    stage.deploy()
    lost = replace(stage.host, store=LocalPackageStore(stage.folder / "elsewhere", AtomicFiles()))

    status = read_status(lost)

    assert len(status.deployments) == 1
    assert status.batching == {}


def shown_status(stage: Stage) -> list[str]:
    page = StringIO()
    show_status(Console(file=page, width=200, markup=False, highlight=False), read_status(stage.host))
    return page.getvalue().splitlines()


@pytest.mark.parametrize("meanwhile", [True, False])
def test_without_a_supervisor_the_status_says_so_and_what_the_ledger_wants(stage: Stage, meanwhile: bool) -> None:
    stage.deploy()
    stage.control.goes_away = meanwhile
    stage.control.running = meanwhile

    status = read_status(stage.host)

    (deployment,) = status.deployments
    assert status.supervisor is None
    assert (deployment.serving, deployment.url, deployment.active) == (False, None, stage.active())
    assert "no supervisor runs" in str(deployment.trouble)


def test_a_stopped_deployment_is_said_to_be_stopped(stage: Stage) -> None:
    stage.deploy()
    stop_deployments(stage.host, None)

    (deployment,) = read_status(stage.host).deployments

    assert (deployment.active, deployment.trouble) == (None, "stopped")


# --- history ---


def test_the_history_says_what_became_of_each_revision(stage: Stage) -> None:
    stage.deploy(0, version="1.0.0")
    first_promoted_at = stage.clock.now()
    stage.clock.advance(60)
    stage.control.abort_reason = "wrong answers"
    stage.deploy(1, version="1.1.0")
    aborted_at = stage.clock.now()
    stage.control.abort_reason = None
    stage.clock.advance(60)
    stage.deploy(2, version="1.2.0")
    third_promoted_at = stage.clock.now()

    history = read_history(stage.host, "tiny")

    first, second, third = history.revisions
    assert [first.state, second.state, third.state] == [
        RevisionState.REPLACED,
        RevisionState.ABORTED,
        RevisionState.ACTIVE,
    ]
    assert (first.promoted_at, first.active_until) == (first_promoted_at, third_promoted_at)
    assert (second.promoted_at, second.aborted_at, second.aborted_reason) == (None, aborted_at, "wrong answers")
    assert (third.promoted_at, third.active_until) == (third_promoted_at, None)
    assert history.events == stage.ledger.events("tiny")
    assert (history.first_broken, history.ledger) == (None, stage.ledger.head())


def test_the_history_holds_the_latest_reports(stage: Stage) -> None:
    stage.deploy(0, version="1.0.0")

    history = read_history(stage.host, "tiny")

    assert [report.kind for report in history.reports] == ["checklist"]


def test_after_a_stop_the_last_revision_ended_with_it(stage: Stage) -> None:
    stage.deploy()
    stage.clock.advance(60)
    stop_deployments(stage.host, None)

    (revision,) = read_history(stage.host, "tiny").revisions

    assert (revision.state, revision.active_until) == (RevisionState.STOPPED, stage.clock.now())


def test_the_history_of_the_only_deployment_is_found_as_current_model(stage: Stage) -> None:
    stage.deploy()

    assert read_history(stage.host, "current_model").deployment.name == "tiny"


def test_the_history_of_an_unknown_deployment_is_not_found(stage: Stage) -> None:
    with pytest.raises(NotFoundError):
        read_history(stage.host, "nobody")


# --- logs ---


def test_logs_go_on_from_their_cursor(stage: Stage) -> None:
    stage.deploy()
    stage.log.lines["tiny"] = [{"event": "one"}, {"event": "two"}]
    lines, cursor = read_logs(stage.host, "current_model")
    stage.log.lines["tiny"].append({"event": "three"})

    later, _ = read_logs(stage.host, "tiny", cursor)

    assert [line["event"] for line in lines] == ["one", "two"]
    assert [line["event"] for line in later] == ["three"]


def test_the_logs_of_an_unknown_deployment_are_not_found(stage: Stage) -> None:
    with pytest.raises(NotFoundError):
        read_logs(stage.host, "nobody", None)
