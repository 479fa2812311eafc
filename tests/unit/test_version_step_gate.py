"""The deploy gate holds a package's version against what clients of the active revision will feel."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.fakes.stage import Stage
from tests.packages import SIGNATURE, entries, write_package

from hyperion.domain.config import DeploymentConfig
from hyperion.domain.event import EventKind
from hyperion.domain.finding import Finding, Outcome
from hyperion.domain.tensor import Signature, TensorSpec
from hyperion.errors import ConfigError
from hyperion.usecases.deploy import DeployResult, deploy_model

WIDE = TensorSpec(name="x", dtype="float32", shape=("batch", 5))
BREAKING = Signature(inputs=(WIDE,), outputs=SIGNATURE.outputs)
GAINING = Signature(inputs=SIGNATURE.inputs, outputs=(*SIGNATURE.outputs, TensorSpec(name="z", dtype="int64")))


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    stage = Stage(tmp_path)
    stage.deploy(0, version="1.4.0")
    return stage


def deploy(stage: Stage, version: str, signature: Signature = SIGNATURE, override: str | None = None) -> DeployResult:
    path = write_package(stage.folder / "next.hyperion", entries(1), version=version, signature=signature)
    return deploy_model(stage.host, path, DeploymentConfig(), stage.reporter, override=override)


def step(result: DeployResult) -> Finding:
    return next(finding for finding in result.checklist.findings if finding.check == "plan.version_step")


@pytest.mark.parametrize("version", ["1.4.1", "1.5.0", "1.4.0", "2.0.0-rc.1"])
def test_a_breaking_change_is_allowed_only_as_a_major_step(stage: Stage, version: str) -> None:
    result = deploy(stage, version, BREAKING)

    assert result.promoted is (version == "2.0.0-rc.1")


def test_a_denied_step_names_the_field_and_the_version_that_would_do(stage: Stage) -> None:
    result = deploy(stage, "1.4.1", BREAKING)

    (denied,) = result.denied_by
    assert denied == step(result)
    assert denied.summary == "1.4.0 → 1.4.1 is a patch step; major is needed"
    assert denied.reason == "inputs.x: is float32[batch, 5], was float32[batch, 4]"
    assert "2.0.0" in str(denied.hint)


def test_a_gain_needs_a_minor_step(stage: Stage) -> None:
    assert not deploy(stage, "1.4.1", GAINING).allowed
    assert deploy(stage, "1.5.0", GAINING).promoted


def test_an_override_lets_the_step_pass_as_a_warning_and_is_recorded(stage: Stage) -> None:
    result = deploy(stage, "1.4.1", BREAKING, override="clients were updated on Monday")

    assert result.promoted
    assert step(result).outcome is Outcome.WARNED
    assert "clients were updated on Monday" in str(step(result).reason)
    assert result.revision is not None
    assert result.revision.override == "clients were updated on Monday"
    (created,) = stage.ledger.events("tiny", (EventKind.REVISION_CREATED,))[-1:]
    assert created.data["override"] == "clients were updated on Monday"


def test_an_override_lets_nothing_else_pass(stage: Stage) -> None:
    path = write_package(stage.folder / "next.hyperion", entries(1), version="1.4.1", signature=BREAKING)
    path.write_bytes(path.read_bytes().replace(b"# A tiny model", b"# a tiny model"))

    result = deploy_model(stage.host, path, DeploymentConfig(), stage.reporter, override="because")

    assert not result.allowed


def test_an_override_that_is_not_needed_is_not_recorded(stage: Stage) -> None:
    result = deploy(stage, "1.4.1", override="because")

    assert result.revision is not None
    assert result.revision.override is None
    assert any("not needed" in warning for warning in stage.reporter.warnings)


@pytest.mark.parametrize("reason", ["", " \t", "\x1b"])
def test_an_override_without_words_is_refused(stage: Stage, reason: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        deploy(stage, "1.4.1", BREAKING, override=reason)

    assert refusal.value.code == "deploy.override_reason"


def test_another_package_under_the_same_version_warns(stage: Stage) -> None:
    result = deploy(stage, "1.4.0")

    assert result.promoted
    assert step(result).outcome is Outcome.WARNED


def test_the_very_same_package_does_not(stage: Stage) -> None:
    assert step(stage.deploy(0, version="1.4.0")).outcome is Outcome.PASSED


def test_going_back_by_deploy_warns_and_names_what_clients_feel(stage: Stage) -> None:
    result = deploy(stage, "1.3.0", BREAKING)

    assert result.promoted
    assert step(result).outcome is Outcome.WARNED
    assert "inputs.x" in str(step(result).reason)


def test_a_rollback_is_never_denied_by_it(stage: Stage) -> None:
    stage.backup()
    deploy(stage, "2.0.0", BREAKING)

    result = stage.roll_back()

    assert result.promoted
    assert step(result).outcome is Outcome.WARNED


def test_a_package_of_the_active_revision_that_cannot_be_read_skips_it(stage: Stage) -> None:
    for path in (stage.folder.parent / "state").rglob("*"):
        if path.is_file():
            path.chmod(0o600)
            path.write_bytes(b"")

    result = deploy(stage, "1.4.1", BREAKING)

    assert step(result).outcome is Outcome.SKIPPED
