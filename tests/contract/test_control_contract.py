"""What every supervisor does when it is asked, played or real (a detached process with real workers)."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.fakes.reporter import CollectingReporter
from tests.fakes.stage import Stage
from tests.fakes.values import make_draft
from tests.models import write_model_dir

from hyperion.bootstrap import open_host
from hyperion.domain.command import (
    Deploy,
    Deployed,
    Progress,
    Record,
    Recorded,
    Stats,
    Status,
    StatusReply,
    Stop,
    Stopped,
)
from hyperion.domain.config import DeploymentConfig, Serve
from hyperion.domain.deployment import Origin
from hyperion.domain.digest import digest_of
from hyperion.domain.event import EventKind
from hyperion.errors import ConflictError, HostError, NotFoundError
from hyperion.ports import Ledger, SupervisorControl
from hyperion.usecases.package import PackageOptions, package_model


@dataclass(frozen=True)
class Scene:
    control: SupervisorControl
    ledger: Ledger
    package: Path
    digest: str

    def deploy(self, **fields: object) -> Deploy:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        values = {
            "package_path": str(self.package),
            "expected_digest": self.digest,
            "config": DeploymentConfig(name="mlp", serve=Serve(port=port)),
            "actor": "alice",
        }
        return Deploy(**(values | fields))  # type: ignore[arg-type]


@pytest.fixture(params=["played", "real"])
def scene(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Scene]:
    if request.param == "played":
        stage = Stage(tmp_path)
        package = stage.package()
        with stage.host.packages.open(package) as opened:
            digest = opened.digest
        yield Scene(stage.control, stage.ledger, package, digest)
        return
    host = open_host(tmp_path / "state")
    options = PackageOptions(
        input_dir=write_model_dir(tmp_path / "model"), output=tmp_path / "m.hyperion", quantize="none"
    )
    package_model(host, options, CollectingReporter())
    with host.packages.open(options.output) as opened:
        digest = opened.digest
    yield Scene(host.control, host.ledger, options.output, digest)
    if host.control.ping() is not None:
        host.control.ask(Stop(name=None, actor="alice"))


def test_without_a_supervisor_nobody_answers(scene: Scene) -> None:
    assert scene.control.ping() is None
    with pytest.raises(HostError) as refusal:
        scene.control.ask(Status())

    assert refusal.value.code == "supervisor.not_running"


def test_a_deployment_lives_from_deploy_to_stop(scene: Scene) -> None:
    pong = scene.control.ensure_running()
    assert scene.control.ensure_running().pid == pong.pid
    heard: list[Progress] = []

    deployed = scene.control.ask(scene.deploy(reason="first"), heard.append)

    assert isinstance(deployed, Deployed)
    assert (deployed.promoted, deployed.revision.number, deployed.revision.digest) == (True, 1, scene.digest)
    assert (deployed.revision.origin, deployed.revision.reason, deployed.revision.actor) == (
        Origin.DEPLOY,
        "first",
        "alice",
    )
    assert "admit" in [progress.stage for progress in heard]
    assert scene.ledger.revision("mlp", 1) == deployed.revision

    status = scene.control.ask(Status())
    assert isinstance(status, StatusReply)
    (mlp,) = status.deployments
    assert (mlp.serving, mlp.updating, mlp.url, mlp.active) == (True, False, deployed.url, deployed.revision)

    stopped = scene.control.ask(Stop(name=None, actor="bob"))
    assert stopped == Stopped(names=("mlp",), supervisor_ends=True)
    (deployment,) = scene.ledger.deployments()
    assert (deployment.desired_revision, deployment.active_revision, deployment.last_active_revision) == (None, None, 1)
    kinds = {event.kind for event in scene.ledger.events("mlp")}
    assert {EventKind.REVISION_CREATED, EventKind.ROLLOUT_PROMOTED, EventKind.DEPLOYMENT_STOPPED} <= kinds
    assert scene.ledger.first_broken() is None


def test_another_package_than_was_checked_is_refused_and_nothing_is_recorded(scene: Scene) -> None:
    scene.control.ensure_running()

    with pytest.raises(ConflictError) as refusal:
        scene.control.ask(scene.deploy(expected_digest=digest_of(b"another")))

    assert refusal.value.code == "package.changed"
    assert scene.ledger.deployments() == ()


def test_an_event_is_recorded_for_the_command_line(scene: Scene) -> None:
    scene.control.ensure_running()
    draft = make_draft(EventKind.ROLLBACK_NOTED, data={"note": "\x1b[31m<b>"}, revision=1)

    reply = scene.control.ask(Record(draft=draft))

    assert isinstance(reply, Recorded)
    assert reply.event in scene.ledger.events("mlp")
    assert (reply.event.actor, reply.event.data) == (draft.actor, draft.data)


def test_the_figures_of_what_does_not_run_are_not_found(scene: Scene) -> None:
    scene.control.ensure_running()

    with pytest.raises(NotFoundError) as refusal:
        scene.control.ask(Stats(name="nobody"))

    assert refusal.value.code == "deployment.not_running"
