"""rollback_to: a revision, a version or a digest that was served here, out of the store, without a backup."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.fakes.clock import START
from tests.fakes.stage import Stage
from tests.fakes.values import make_revision

from hyperion.domain.command import Deploy, WarmRevision
from hyperion.domain.config import DeploymentConfig, MemoryBudget
from hyperion.domain.deployment import Origin, Revision
from hyperion.domain.history import RevisionHistory, RevisionState
from hyperion.domain.rollback import find_target
from hyperion.errors import ConfigError, ConflictError, EngineError, HostError, NotFoundError
from hyperion.usecases.deploy import DeployResult, stop_deployments
from hyperion.usecases.document_rollback import document_latest_rollback
from hyperion.usecases.rollback import rollback_to


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """Version 1.0.0 was deployed with two workers, then version 1.1.0; nothing was ever backed up."""
    stage = Stage(tmp_path)
    stage.deploy(0, version="1.0.0", config=DeploymentConfig(workers=2))
    stage.deploy(1, version="1.1.0")
    return stage


def go(stage: Stage, target: str, name: str = "tiny", reason: str = "p95 doubled", **options: bool) -> DeployResult:
    return rollback_to(stage.host, name, target, reason, stage.reporter, **options)


def history(revision: Revision, *, promoted: bool = True) -> RevisionHistory:
    state = RevisionState.REPLACED if promoted else RevisionState.ABORTED
    return RevisionHistory(
        revision=revision, state=state, promoted_at=START if promoted else None, active_until=None, aborted_at=None,
        aborted_reason=None,
    )  # fmt: skip


# --- what a target names ---

OLD, NEW, AGAIN = (make_revision(number, version=text) for number, text in ((1, "1.0.0"), (2, "1.1.0"), (3, "1.0.0")))


@pytest.mark.parametrize(("text", "number"), [("1", 1), ("r2", 2), ("1.1.0", 2), (NEW.digest, 2), (NEW.digest[:15], 2)])
def test_a_target_is_a_revision_a_version_or_the_beginning_of_a_digest(text: str, number: int) -> None:
    assert find_target(text, [history(OLD), history(NEW)], "mlp").number == number


def test_a_version_that_several_packages_bear_is_refused_and_names_them() -> None:
    with pytest.raises(ConflictError) as refusal:
        find_target("1.0.0", [history(OLD), history(NEW), history(AGAIN)], "mlp")

    assert refusal.value.code == "rollback.ambiguous"
    assert "revision 1 (1.0.0, sha256:" in refusal.value.message
    assert "revision 3 (1.0.0, sha256:" in refusal.value.message
    assert "--to 3" in str(refusal.value.hint)


def test_one_package_that_was_active_twice_is_named_with_its_latest_config() -> None:
    later = make_revision(4, version="1.0.0", digest=OLD.digest)

    assert find_target("1.0.0", [history(OLD), history(NEW), history(later)], "mlp") == later


def test_a_version_means_what_was_active_under_it_not_what_was_aborted() -> None:
    assert find_target("1.0.0", [history(OLD), history(AGAIN, promoted=False)], "mlp") == OLD


def test_what_was_never_active_is_gone_to_only_by_its_number() -> None:
    histories = [history(OLD), history(NEW, promoted=False)]

    with pytest.raises(NotFoundError) as refusal:
        find_target("1.1.0", histories, "mlp")

    assert refusal.value.code == "rollback.target_not_found"
    assert "never active" in refusal.value.message
    assert find_target("2", histories, "mlp") == NEW


@pytest.mark.parametrize("text", ["3", "9.9.9", "sha256:00000000"])
def test_what_the_deployment_does_not_have_is_not_found_and_what_it_has_is_listed(text: str) -> None:
    with pytest.raises(NotFoundError) as refusal:
        find_target(text, [history(OLD)], "mlp")

    assert refusal.value.code == "rollback.target_not_found"
    assert "revision 1 (1.0.0, sha256:" in refusal.value.message


@pytest.mark.parametrize("text", ["", "latest", "0", "-1", "1.0", "sha256:0123", "md5:0123456789", "1; rm", "²"])
def test_what_is_no_target_is_refused_with_what_is_one(text: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        find_target(text, [history(OLD)], "mlp")

    assert refusal.value.code == "rollback.target"
    assert "1.0.0" in refusal.value.message


# --- going there ---


@pytest.mark.parametrize("target", ["1", "1.0.0"])
def test_an_earlier_revision_comes_back_with_its_package_and_config(stage: Stage, target: str) -> None:
    first = stage.ledger.revision("tiny", 1)

    result = go(stage, target)

    active = stage.active()
    assert active is not None
    assert (result.promoted, active.number, active.origin, active.reason) == (True, 3, Origin.ROLLBACK, "p95 doubled")
    assert (active.digest, active.config) == (first.digest, first.config)


def test_it_comes_from_the_store_and_no_model_is_run_before_its_workers_run_it(stage: Stage) -> None:
    for path in stage.folder.glob("*.hyperion"):
        path.unlink()
    jobs = len(stage.sandbox.jobs)
    stage.sandbox.error = EngineError("would not run", code="engine.crashed")

    result = go(stage, "1")

    command = next(asked for asked in reversed(stage.control.asked) if isinstance(asked, Deploy))
    assert result.promoted
    assert command.package_path is None
    assert len(stage.sandbox.jobs) == jobs


def test_a_rollback_of_a_rollback_works(stage: Stage) -> None:
    go(stage, "1")

    result = go(stage, "2", reason="it was not the model")

    assert result.promoted
    assert (result.version, result.revision and result.revision.number) == ("1.1.0", 4)


def test_the_only_deployment_need_not_be_named(stage: Stage) -> None:
    assert go(stage, "1", name="current_model").deployment == "tiny"


def test_a_stopped_deployment_comes_back(stage: Stage) -> None:
    stop_deployments(stage.host, None)

    assert go(stage, "1").promoted


def test_speed_memory_window_and_step_never_refuse_it(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.deploy(0, version="2.0.0", config=DeploymentConfig(memory=MemoryBudget(budget_mb=256)))
    stage.deploy(1, version="2.0.1")
    stage.sandbox.peak_mb = 4000
    stage.facts.taken_ports = {8080}

    assert go(stage, "1").promoted


def test_a_damaged_blob_denies_it_and_nothing_changes(stage: Stage) -> None:
    with stage.store.open(stage.ledger.revision("tiny", 1).digest) as package:
        blob = package.locate("weights/layer0.weights").path
    blob.chmod(0o600)
    blob.write_bytes(bytes(len(blob.read_bytes())))
    head = stage.ledger.head()

    result = go(stage, "1")

    assert not result.allowed
    assert result.denied_by[0].check == "integrity.digests"
    assert stage.ledger.head() == head


def test_a_package_that_the_store_lost_is_refused(stage: Stage) -> None:
    with stage.store.open(stage.ledger.revision("tiny", 1).digest) as package:
        package.locate("weights/layer0.weights").path.unlink()

    with pytest.raises(HostError) as refusal:
        go(stage, "1")

    assert refusal.value.code == "store.blob_missing"


def test_a_dry_run_says_what_would_be_done_and_changes_nothing(stage: Stage) -> None:
    head, files = stage.ledger.head(), stage.files()
    stage.control.asked.clear()

    result = go(stage, "1.0.0", dry_run=True)

    assert (result.allowed, result.dry_run, result.promoted) == (True, True, False)
    assert result.plan[0].startswith("take tiny 1.0.0 (sha256:")
    assert (stage.ledger.head(), stage.files()) == (head, files)
    assert not any(isinstance(asked, Deploy) for asked in stage.control.asked)


def test_a_dry_run_says_that_warm_workers_would_be_taken_over(stage: Stage) -> None:
    first = stage.ledger.revision("tiny", 1)
    stage.control.warm = WarmRevision(revision=first, until=stage.clock.now(), resident_bytes=None)

    plan = " / ".join(go(stage, "1", dry_run=True).plan)

    assert "take over the workers of revision 1, which are warm" in plan
    assert "start" not in plan


def test_a_dry_run_to_a_backup_changes_nothing(stage: Stage) -> None:
    from hyperion.usecases.rollback import rollback_model

    stage.backup()
    head = stage.ledger.head()

    result = rollback_model(stage.host, stage.folder / "backup" / "tiny", "why", stage.reporter, dry_run=True)

    assert (result.dry_run, result.promoted) == (True, False)
    assert result.plan
    assert stage.ledger.head() == head


def test_a_rollback_without_a_backup_is_documented_by_its_deployment(stage: Stage) -> None:
    go(stage, "1")

    record = document_latest_rollback(stage.host, "tiny", "told the customers")

    assert (record.to_revision.number, record.reason) == (3, "p95 doubled")
    assert [note.text for note in record.notes] == ["told the customers"]


def test_a_deployment_that_was_never_rolled_back_has_no_record(stage: Stage) -> None:
    with pytest.raises(NotFoundError) as refusal:
        document_latest_rollback(stage.host, "tiny", "why")

    assert refusal.value.code == "rollback.not_found"
