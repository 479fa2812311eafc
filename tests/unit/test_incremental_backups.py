"""Backups that share files by digest, that are restored before they count, and of which only the newest stay."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.fakes.stage import Stage
from tests.packages import entries

from hyperion.domain.backup import Backup
from hyperion.domain.config import DeploymentConfig
from hyperion.domain.event import EventKind
from hyperion.errors import EngineError, HostError
from hyperion.usecases.backup_folder import open_backup
from hyperion.usecases.rollback import rollback_model

WEIGHTS = "package.hyperion/weights/layer0.weights"


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def deploy_and_back_up(stage: Stage, *versions: str) -> None:
    """Deploy the same weights under each version, and back each up a minute after the other."""
    for version in versions:
        stage.deploy(0, version=version)
        stage.backup()
        stage.clock.advance(60)


def folders(stage: Stage) -> list[str]:
    return sorted(path.name for path in (stage.folder / "backup").iterdir())


def read_proof(stage: Stage, name: str = "tiny") -> Backup:
    return open_backup(stage.folder / "backup" / name).backup


# --- shared by digest ---


def test_entries_that_an_earlier_backup_holds_are_hard_links_to_it(stage: Stage) -> None:
    deploy_and_back_up(stage, "1.0.0")
    stage.deploy(0, version="1.0.1")

    summary = stage.backup()

    first, second = stage.folder / "backup" / "tiny@r1" / WEIGHTS, stage.folder / "backup" / "tiny" / WEIGHTS
    assert first.stat().st_ino == second.stat().st_ino
    assert summary.shared_bytes == sum(len(data) for data in entries(0).values())
    assert summary.size_bytes > summary.shared_bytes


def test_a_backup_shares_nothing_with_the_store_that_it_guards(stage: Stage) -> None:
    digest = stage.deploy().digest
    stage.backup()

    with stage.store.open(digest) as stored:
        blob = stored.locate("weights/layer0.weights").path
    assert blob.stat().st_nlink == 1
    assert (stage.folder / "backup" / "tiny" / WEIGHTS).stat().st_mode & 0o777 == 0o444


def test_a_backup_stays_whole_when_the_one_that_it_shares_with_is_removed(stage: Stage) -> None:
    deploy_and_back_up(stage, "1.0.0", "1.0.1")
    shutil.rmtree(stage.folder / "backup" / "tiny@r1")

    result = rollback_model(stage.host, stage.folder / "backup" / "tiny", "gone", stage.reporter)

    assert result.promoted


def test_a_copy_of_a_backup_is_whole_on_another_machine(stage: Stage, tmp_path: Path) -> None:
    deploy_and_back_up(stage, "1.0.0", "1.0.1")
    (tmp_path / "other").mkdir()
    other = Stage(tmp_path / "other")
    shutil.copytree(stage.folder / "backup" / "tiny", other.folder / "carried")

    assert rollback_model(other.host, other.folder / "carried", "new machine", other.reporter).promoted


def test_a_full_backup_is_one_file_that_shares_nothing(stage: Stage) -> None:
    deploy_and_back_up(stage, "1.0.0")

    summary = stage.backup(full=True)

    package = stage.folder / "backup" / "tiny" / "package.hyperion"
    assert (summary.unchanged, summary.shared_bytes) == (False, 0)
    assert package.read_bytes() == (stage.folder / "tiny0.hyperion").read_bytes()
    assert package.stat().st_nlink == 1
    assert stage.backup(full=True).unchanged
    assert stage.backup().unchanged


def test_nothing_is_shared_with_a_damaged_backup(stage: Stage) -> None:
    deploy_and_back_up(stage, "1.0.0")
    damaged = stage.folder / "backup" / "tiny" / WEIGHTS
    damaged.chmod(0o644)
    damaged.write_bytes(bytes(len(damaged.read_bytes())))
    damaged.chmod(0o444)
    stage.deploy(0, version="1.0.1")

    summary = stage.backup()

    assert summary.shared_bytes == 0
    assert (stage.folder / "backup" / "tiny" / WEIGHTS).read_bytes() == entries(0)["weights/layer0.weights"]
    assert "an earlier backup is damaged" in stage.reporter.warnings[-1]


def test_nothing_is_shared_with_a_file_that_may_be_written(stage: Stage) -> None:
    deploy_and_back_up(stage, "1.0.0")
    (stage.folder / "backup" / "tiny" / WEIGHTS).chmod(0o644)
    stage.deploy(0, version="1.0.1")

    stage.backup()

    assert (stage.folder / "backup" / "tiny" / WEIGHTS).stat().st_nlink == 1


# --- proven by a restore ---


def test_a_backup_says_what_its_restore_showed_and_so_does_the_ledger(stage: Stage) -> None:
    stage.deploy()

    stage.backup()

    proof = read_proof(stage).proof
    (event,) = stage.ledger.events("tiny", [EventKind.BACKUP_CREATED])
    assert proof is not None
    assert [finding.check for finding in proof.findings] == ["model.load", "model.golden", "model.outputs"]
    assert proof.size_bytes == sum(len(data) for data in entries(0).values())
    assert (proof.golden, event.data["golden"]) == ("skipped", "skipped")  # the package has no golden requests


def test_the_restored_copy_is_what_runs_and_nothing_is_left_of_it(stage: Stage) -> None:
    stage.deploy()

    stage.backup()

    restored = stage.sandbox.jobs[-1].package
    assert restored.name == "package.hyperion"
    assert not restored.exists()
    assert folders(stage) == ["tiny"]


def test_a_backup_that_does_not_run_is_not_kept_and_the_old_one_stays(stage: Stage) -> None:
    deploy_and_back_up(stage, "1.0.0")
    stage.deploy(0, version="1.0.1")
    before = stage.files()
    stage.sandbox.error = EngineError("no such operator", code="engine.load_failed")

    with pytest.raises(HostError) as refusal:
        stage.backup()

    assert refusal.value.code == "backup.not_proven"
    assert "model.load" in refusal.value.message
    assert stage.files() == before


def test_a_backup_that_nobody_proved_is_made_anew(stage: Stage) -> None:
    deploy_and_back_up(stage, "1.0.0")
    path = stage.folder / "backup" / "tiny" / "backup.json"
    path.write_text(read_proof(stage).model_copy(update={"proof": None}).model_dump_json(exclude_none=True))

    assert not stage.backup().unchanged
    assert read_proof(stage).proof is not None


def test_a_backup_warns_where_the_ledger_lacks_what_the_one_before_saw(stage: Stage, tmp_path: Path) -> None:
    deploy_and_back_up(stage, "1.0.0", "1.0.1")
    (tmp_path / "other").mkdir()
    other = Stage(tmp_path / "other")
    shutil.copytree(stage.folder / "backup" / "tiny", other.folder / "backup" / "tiny")
    other.deploy(0)

    other.backup()

    assert "does not stand in the chain" in other.reporter.warnings[0]
    assert not any("chain" in warning for warning in stage.reporter.warnings)


# --- how many stay ---


def test_the_oldest_backups_beyond_the_number_are_removed_and_recorded(stage: Stage) -> None:
    deploy_and_back_up(stage, "1.0.0", "1.0.1", "1.0.2")
    stage.deploy(0, version="1.0.3")

    summary = stage.backup(keep=2)

    assert folders(stage) == ["tiny", "tiny@r3"]
    assert summary.removed == tuple(str(stage.folder / "backup" / name) for name in ("tiny@r1", "tiny@r2"))
    assert [event.data["path"] for event in stage.ledger.events(kinds=[EventKind.BACKUP_REMOVED])] == [*summary.removed]
    assert rollback_model(stage.host, stage.folder / "backup" / "tiny@r3", "still whole", stage.reporter).promoted


@pytest.mark.parametrize("keep", [1, 5])
def test_the_latest_backup_is_never_removed(stage: Stage, keep: int) -> None:
    deploy_and_back_up(stage, "1.0.0")

    stage.backup(keep=keep)

    assert folders(stage) == ["tiny"]


def test_a_clock_that_was_set_back_does_not_cost_the_latest_backup(stage: Stage) -> None:
    deploy_and_back_up(stage, "1.0.0")
    stage.deploy(0, version="1.0.1")
    stage.clock.advance(-3600)

    summary = stage.backup(keep=1)

    assert folders(stage) == ["tiny"]
    assert read_proof(stage).version == "1.0.1"
    assert (summary.kept_as, len(summary.removed)) == (None, 1)


def test_what_is_no_backup_of_this_name_is_never_removed(stage: Stage) -> None:
    stage.deploy(1, config=DeploymentConfig(name="other"))
    stage.backup("other")
    (stage.folder / "backup" / "tiny@r9").mkdir()
    (stage.folder / "backup" / "notes.txt").write_text("mine")
    deploy_and_back_up(stage, "1.0.0", "1.0.1")
    shutil.copytree(stage.folder / "backup" / "tiny@r1", stage.folder / "backup" / "tiny-of-monday")

    stage.backup(keep=1)

    assert folders(stage) == ["notes.txt", "other", "tiny", "tiny-of-monday", "tiny@r9"]


@pytest.mark.parametrize("place", [".", "package.hyperion/assets"])
def test_a_backup_that_holds_something_else_is_kept_with_a_warning(stage: Stage, place: str) -> None:
    deploy_and_back_up(stage, "1.0.0", "1.0.1")
    foreign = stage.folder / "backup" / "tiny@r1" / place / "mine.txt"
    foreign.write_text("mine")

    summary = stage.backup(keep=1)

    assert summary.removed == ()
    assert foreign.read_text() == "mine"
    assert "mine.txt" in stage.reporter.warnings[-1]
