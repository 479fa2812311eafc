"""A deploy needs a way back: a proven backup that is still there, or the replaced revision kept warm."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.fakes.stage import Stage

from hyperion.domain.config import DeploymentConfig, Serve
from hyperion.domain.document import JsonValue
from hyperion.domain.event import EventDraft, EventKind
from hyperion.domain.finding import Finding, Outcome
from hyperion.usecases.deploy import DeployResult

COLD = DeploymentConfig(keep_warm_s=0)


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    stage = Stage(tmp_path)
    stage.deploy(0, config=COLD)
    return stage


def deploy(stage: Stage, config: DeploymentConfig = COLD, override: str | None = None) -> DeployResult:
    return stage.deploy(1, version="1.0.1", config=config, override=override)


def rollback_plan(result: DeployResult) -> Finding:
    return next(finding for finding in result.checklist.findings if finding.check == "plan.rollback")


def test_a_first_deployment_has_nothing_to_go_back_to_and_says_so(tmp_path: Path) -> None:
    result = Stage(tmp_path).deploy(0, config=COLD)

    assert result.promoted
    assert rollback_plan(result).outcome is Outcome.SKIPPED
    assert rollback_plan(result).summary == "there is nothing to go back to"


def test_without_a_backup_and_without_warmth_a_deploy_is_denied(stage: Stage) -> None:
    result = deploy(stage)

    assert [finding.check for finding in result.denied_by] == ["plan.rollback"]
    assert rollback_plan(result).reason == "it was never backed up; keep_warm_s is 0"
    assert "hyperion backup model --name tiny" in str(rollback_plan(result).hint)


def test_a_replaced_revision_that_stays_warm_is_a_way_back(stage: Stage) -> None:
    result = deploy(stage, DeploymentConfig())

    assert result.promoted
    assert rollback_plan(result).measured == {"warm_s": 600.0}


def test_what_moves_to_another_address_leaves_nothing_warm(stage: Stage) -> None:
    result = deploy(stage, DeploymentConfig(serve=Serve(port=9090)))

    assert not result.allowed
    assert "another address" in str(rollback_plan(result).reason)


def test_recreate_keeps_nothing_warm(stage: Stage) -> None:
    assert "recreate" in str(rollback_plan(deploy(stage, DeploymentConfig(strategy="recreate"))).reason)


def test_a_proven_backup_of_what_is_active_is_a_way_back(stage: Stage) -> None:
    backup = stage.backup()

    result = deploy(stage)

    assert result.promoted
    assert rollback_plan(result).measured == {"backup": str(Path(backup.path).absolute())}


def test_a_backup_of_an_earlier_package_is_none_of_what_is_active(stage: Stage) -> None:
    stage.backup()
    deploy(stage)

    result = stage.deploy(2, version="1.0.2", config=COLD)

    assert not result.allowed


def test_a_backup_that_is_gone_counts_no_more(stage: Stage) -> None:
    backup = stage.backup()
    shutil.rmtree(backup.path)

    result = deploy(stage)

    assert not result.allowed
    assert "is not there any more" in str(rollback_plan(result).reason)


def test_a_backup_that_was_never_restored_on_trial_proves_nothing(stage: Stage) -> None:
    backup = stage.backup()
    data: dict[str, JsonValue] = {"digest": str(backup.backup.digest), "path": str(Path(backup.path).absolute())}
    stage.ledger.append(EventDraft(kind=EventKind.BACKUP_CREATED, deployment="tiny", revision=1, actor="x", data=data))

    assert "never restored on trial" in str(rollback_plan(deploy(stage)).reason)


def test_an_override_lets_it_pass_and_is_kept_with_the_revision(stage: Stage) -> None:
    result = deploy(stage, override="the old one is broken anyway")

    assert result.promoted
    assert rollback_plan(result).outcome is Outcome.WARNED
    assert result.revision is not None
    assert result.revision.override == "the old one is broken anyway"


def test_a_rollback_is_only_warned(stage: Stage) -> None:
    stage.backup()
    deploy(stage)

    result = stage.roll_back()

    assert result.promoted
    assert rollback_plan(result).outcome is Outcome.WARNED
