"""backup_model: what it writes, what it leaves alone, what it refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from tests.fakes.stage import Stage
from tests.packages import entries

from hyperion.domain.backup import Backup
from hyperion.domain.config import DeploymentConfig
from hyperion.domain.event import EventKind
from hyperion.errors import ConflictError, HostError, NotFoundError
from hyperion.format.strict_json import parse_document
from hyperion.usecases.backup import backup_model
from hyperion.usecases.config import load_config
from hyperion.usecases.deploy import stop_deployments


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def damage_file(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.chmod(0o644)
    path.write_bytes(bytes(content))
    path.chmod(0o444)


def read_backup(folder: Path) -> Backup:
    return parse_document(Backup, (folder / "backup.json").read_bytes(), "backup.json")


def test_a_backup_holds_the_very_package_the_config_and_the_head_of_the_ledger(stage: Stage) -> None:
    deployed = stage.deploy(config=DeploymentConfig(workers=2, team="ml-ops")).revision
    assert deployed is not None
    head = stage.ledger.head()

    summary = stage.backup()

    folder = stage.folder / "backup" / "tiny"
    assert sorted(path.name for path in folder.iterdir()) == ["backup.json", "deployment.json", "package.hyperion"]
    with stage.host.packages.open(folder) as kept, stage.store.open(deployed.digest) as stored:
        assert {name: kept.read(name) for name in kept.names()} == {name: stored.read(name) for name in stored.names()}
    assert load_config(DeploymentConfig, folder / "deployment.json") == deployed.config
    backup = read_backup(folder)
    assert (backup.deployment, backup.revision, backup.digest) == ("tiny", 1, deployed.digest)
    assert (backup.ledger, backup.created_at) == (head, stage.clock.now())
    assert (summary.path, summary.unchanged, summary.kept_as) == (str(folder), False, None)
    assert summary.backup == backup
    files = (path for path in (folder / "package.hyperion").rglob("*") if path.is_file())
    assert summary.size_bytes == sum(path.stat().st_size for path in files)
    assert (summary.shared_bytes, summary.removed) == (0, ())


def test_a_backup_comes_from_the_store_not_from_the_users_file(stage: Stage) -> None:
    stage.deploy()
    (stage.folder / "tiny0.hyperion").unlink()

    assert not stage.backup().unchanged


@pytest.mark.parametrize("running", [True, False])
def test_a_backup_is_recorded_through_the_supervisor_or_without_one(stage: Stage, running: bool) -> None:
    deployed = stage.deploy().revision
    assert deployed is not None
    stage.control.running = running

    stage.backup()

    (event,) = stage.ledger.events("tiny", [EventKind.BACKUP_CREATED])
    assert (event.revision, event.actor) == (1, "alice")
    path = str(stage.folder / "backup" / "tiny")
    assert event.data == {"digest": deployed.digest, "path": path, "golden": "skipped"}


def test_a_supervisor_that_ends_meanwhile_does_not_lose_the_event(stage: Stage) -> None:
    stage.deploy()
    stage.control.goes_away = True

    stage.backup()

    assert len(stage.ledger.events("tiny", [EventKind.BACKUP_CREATED])) == 1


def test_current_model_stands_for_the_only_deployment_and_names_the_folder(stage: Stage) -> None:
    stage.deploy()

    summary = stage.backup("current_model")

    assert summary.path == str(stage.folder / "backup" / "current_model")
    assert summary.backup.deployment == "tiny"


def test_a_deployment_of_that_very_name_goes_before_the_only_one(stage: Stage) -> None:
    stage.deploy(0)
    stage.deploy(1, config=DeploymentConfig(name="current_model"))

    assert stage.backup("current_model").backup.deployment == "current_model"


def test_a_stopped_deployment_is_backed_up_as_it_was_last(stage: Stage) -> None:
    stage.deploy()
    stop_deployments(stage.host, None)

    assert stage.backup().backup.revision == 1


def test_the_same_package_and_config_again_are_left_as_they_are(stage: Stage) -> None:
    stage.deploy()
    stage.backup()
    files, head = stage.files(), stage.ledger.head()
    stage.clock.advance(60)

    summary = stage.backup()

    assert summary.unchanged
    assert (stage.files(), stage.ledger.head()) == (files, head)


def test_another_package_takes_the_place_and_the_old_backup_is_kept_by_its_revision(stage: Stage) -> None:
    first = stage.deploy(0).revision
    stage.backup()
    second = stage.deploy(1, version="1.1.0").revision
    assert first is not None
    assert second is not None

    summary = stage.backup()

    folder = stage.folder / "backup"
    assert summary.kept_as == str(folder / "tiny@r1")
    assert sorted(path.name for path in folder.iterdir()) == ["tiny", "tiny@r1"]
    assert read_backup(folder / "tiny").digest == second.digest
    assert read_backup(folder / "tiny@r1").digest == first.digest
    with stage.host.packages.open(folder / "tiny@r1") as kept:
        assert kept.digest == first.digest


def test_another_config_of_the_same_package_is_another_backup(stage: Stage) -> None:
    stage.deploy()
    stage.backup()
    stage.deploy(config=DeploymentConfig(workers=3))

    assert not stage.backup().unchanged
    assert (stage.folder / "backup" / "tiny@r1").is_dir()


def test_an_old_backup_keeps_its_place_when_its_name_is_taken(stage: Stage) -> None:
    stage.deploy(0)
    stage.backup()
    (stage.folder / "backup" / "tiny@r1").mkdir()
    stage.deploy(1)

    assert stage.backup().kept_as == str(stage.folder / "backup" / "tiny@r1.2")


@pytest.mark.parametrize("damage", ["package", "missing package", "config", "missing config"])
def test_a_damaged_backup_is_not_called_good_but_made_anew(stage: Stage, damage: str) -> None:
    stage.deploy()
    stage.backup()
    folder = stage.folder / "backup" / "tiny"
    entry = folder / "package.hyperion" / "weights" / "layer0.weights"
    if damage == "package":
        damage_file(entry)
    elif damage == "missing package":
        shutil.rmtree(folder / "package.hyperion")
    elif damage == "config":
        (folder / "deployment.json").write_text("{")
    else:
        (folder / "deployment.json").unlink()

    summary = stage.backup()

    assert not summary.unchanged
    assert entry.read_bytes() == entries(0)["weights/layer0.weights"]


@pytest.mark.parametrize(
    "content",
    [{}, {"notes.txt": "mine"}, {"backup.json": "{}"}, {"backup.json": '{"format": "other"}'}, {"backup.json": "[[["}],
)
def test_a_folder_that_is_no_backup_is_not_touched(stage: Stage, content: dict[str, str]) -> None:
    stage.deploy()
    folder = stage.folder / "backup" / "tiny"
    folder.mkdir(parents=True)
    for name, text in content.items():
        (folder / name).write_text(text)
    files, head = stage.files(), stage.ledger.head()

    with pytest.raises(ConflictError) as refusal:
        stage.backup()

    assert refusal.value.code == "backup.foreign_folder"
    assert str(folder) in refusal.value.message
    assert (stage.files(), stage.ledger.head()) == (files, head)


def test_a_file_in_the_place_of_the_backup_is_not_touched(stage: Stage) -> None:
    stage.deploy()
    (stage.folder / "backup").mkdir()
    (stage.folder / "backup" / "tiny").write_text("mine")

    with pytest.raises(ConflictError):
        stage.backup()

    assert (stage.folder / "backup" / "tiny").read_text() == "mine"


def test_a_file_in_the_place_of_the_output_is_a_conflict(stage: Stage) -> None:
    stage.deploy()
    (stage.folder / "backup").write_text("mine")

    with pytest.raises(ConflictError):
        stage.backup()


def test_a_backup_of_a_later_hyperion_is_not_touched(stage: Stage) -> None:
    stage.deploy()
    stage.backup()
    source = stage.folder / "backup" / "tiny" / "backup.json"
    source.write_text(json.dumps(json.loads(source.read_text()) | {"format_version": 2}))

    with pytest.raises(ConflictError):
        stage.backup()


@pytest.mark.parametrize("name", ["nobody", "../tiny", "tiny/../../x", "", "Tiny"])
def test_a_name_that_no_deployment_bears_is_not_found_and_nothing_is_written(stage: Stage, name: str) -> None:
    stage.deploy()
    files = stage.files()

    with pytest.raises(NotFoundError) as refusal:
        backup_model(stage.host, name, stage.folder / "backup", stage.reporter)

    assert refusal.value.code == "deployment.not_found"
    assert stage.files() == files


def test_current_model_of_two_deployments_is_not_found(stage: Stage) -> None:
    stage.deploy(0)
    stage.deploy(1, config=DeploymentConfig(name="other"))

    with pytest.raises(NotFoundError) as refusal:
        stage.backup("current_model")

    assert "other, tiny" in refusal.value.message


def test_a_deployment_that_was_never_active_has_nothing_to_back_up(stage: Stage) -> None:
    stage.control.abort_reason = "does not load"
    stage.deploy()

    with pytest.raises(NotFoundError) as refusal:
        stage.backup()

    assert refusal.value.code == "backup.never_active"


def test_a_damaged_store_gives_no_backup_and_the_old_one_stays(stage: Stage) -> None:
    stage.deploy(0)
    stage.backup()
    result = stage.deploy(1)
    with stage.store.open(result.digest) as package:
        blob = package.locate("weights/layer0.weights").path
    blob.chmod(0o600)
    blob.write_bytes(bytes(len(blob.read_bytes())))
    before = {path: content for path, content in stage.files().items() if "backup" in path}

    with pytest.raises(HostError) as refusal:
        stage.backup()

    assert refusal.value.code == "backup.not_proven"
    assert "weights/layer0.weights" in refusal.value.message
    assert {path: content for path, content in stage.files().items() if "backup" in path} == before


def test_nothing_is_left_where_the_disk_is_full(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.deploy()
    full = HostError("no space left", code="host.no_space")

    def refuse(digest: str, output: Path, shared: object) -> int:
        (output / "manifest.json").write_bytes(b"half a manif")
        raise full

    monkeypatch.setattr(stage.store, "export_tree", refuse)

    with pytest.raises(HostError) as refusal:
        stage.backup()

    assert refusal.value is full
    assert list((stage.folder / "backup").iterdir()) == []
    shutil.rmtree(stage.folder / "backup")
