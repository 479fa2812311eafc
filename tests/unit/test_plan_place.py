"""A place where a deployment of this host listens is told by that deployment's name, not as a process to look for."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.fakes.stage import Stage

from hyperion.domain.config import DeploymentConfig, Serve
from hyperion.domain.finding import Finding
from hyperion.usecases.deploy import DeployResult


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """The deployment 'tiny' listens at port 8080 of all addresses."""
    stage = Stage(tmp_path)
    stage.deploy(config=DeploymentConfig(serve=Serve(host="0.0.0.0", insecure=True)))  # noqa: S104
    stage.facts.taken_ports = {8080, 9090}
    return stage


def place(result: DeployResult) -> Finding:
    return next(finding for finding in result.checklist.findings if finding.check == "plan.monitoring")


def test_another_deployment_is_named_that_listens_there(stage: Stage) -> None:
    found = place(stage.deploy(1, name="other"))

    assert found.reason == "revision 1 of tiny listens at 0.0.0.0, port 8080 [host.port_in_use]"
    assert found.hint == "choose another serve.port in deployment.json, or stop it first with 'hyperion stop tiny'"


def test_a_deployment_that_stays_on_its_port_at_another_address_is_told_that_it_holds_it(stage: Stage) -> None:
    found = place(stage.deploy(1, version="1.1.0", config=DeploymentConfig(serve=Serve(host="127.0.0.1"))))

    assert str(found.reason).startswith("revision 1 of tiny listens at 0.0.0.0")
    assert str(found.hint).endswith("since the new workers start beside the old ones")


def test_a_strangers_process_is_still_one_to_look_for(stage: Stage) -> None:
    found = place(stage.deploy(1, name="other", config=DeploymentConfig(serve=Serve(port=9090))))

    assert str(found.hint).startswith("see 'ss -ltnp sport = :9090'")


def test_what_no_supervisor_serves_holds_no_place(stage: Stage) -> None:
    stage.control.running = False

    assert str(place(stage.deploy(1, name="other")).reason).startswith("another process uses it")
