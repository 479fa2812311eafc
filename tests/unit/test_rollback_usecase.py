"""rollback_model and document_rollback: back to a backup, with a reason, and the record of it."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from tests.fakes.stage import Stage
from tests.packages import entries, write_package

from hyperion.domain.config import DeploymentConfig, MemoryBudget, Serve
from hyperion.domain.deployment import Origin
from hyperion.domain.event import EventKind
from hyperion.domain.finding import Outcome
from hyperion.domain.history import RevisionState
from hyperion.errors import (
    ConfigError,
    DigestMismatchError,
    EngineError,
    HostError,
    HyperionError,
    NotFoundError,
    PackageError,
)
from hyperion.usecases.deploy import stop_deployments
from hyperion.usecases.document_rollback import document_rollback
from hyperion.usecases.rollback import rollback_model

EVIL = "\x1b[31m[bold]p95[/bold] <script>alert('x')</script> | **worse** \n# heading"


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """Version 1 was deployed and backed up, then version 2 was deployed."""
    stage = Stage(tmp_path)
    stage.deploy(0, version="1.0.0", config=DeploymentConfig(workers=2))
    stage.backup()
    stage.deploy(1, version="1.1.0")
    return stage


def test_a_rollback_is_a_new_revision_of_the_backups_package_and_config(stage: Stage) -> None:
    before = stage.active()

    result = stage.roll_back(reason="p95 doubled")

    active = stage.active()
    first = stage.ledger.revision("tiny", 1)
    assert active is not None
    assert (result.promoted, result.origin, result.previous, result.revision) == (True, Origin.ROLLBACK, before, active)
    assert (active.number, active.replaces, active.origin, active.reason) == (3, 2, Origin.ROLLBACK, "p95 doubled")
    assert (active.digest, active.config) == (first.digest, first.config)


def test_a_rollback_gives_no_warning_of_its_lower_version(stage: Stage) -> None:
    assert "plan.version_step" not in [finding.check for finding in stage.roll_back().warnings]


def test_a_rollback_to_what_is_active_already_is_made_and_recorded_too(stage: Stage) -> None:
    stage.roll_back()

    result = stage.roll_back(reason="once more")

    assert (result.promoted, result.unchanged) == (True, False)
    assert result.revision is not None
    assert result.revision.number == 4
    assert stage.reporter.warnings == ["revision 3 serves this very package; it is proven and started anew"]


def test_a_rollback_whose_report_cannot_be_written_goes_through_with_a_warning(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> Path:
        raise HostError("report.json cannot be written: No space left on device", code="host.no_space")

    monkeypatch.setattr(stage.host.reports, "save", full)

    result = stage.roll_back(reason="p95 doubled")

    assert result.promoted
    assert stage.reporter.warnings == [
        "the report of the checks could not be kept: report.json cannot be written: No space left on device"
    ]


def test_a_stopped_deployment_is_rolled_back_too(stage: Stage) -> None:
    stop_deployments(stage.host, None)
    assert not stage.control.running

    result = stage.roll_back()

    assert result.promoted
    assert result.previous is None


def test_a_rollback_goes_to_the_deployment_that_the_backup_names_whatever_its_folder_is_called(stage: Stage) -> None:
    (stage.folder / "backup" / "tiny").rename(stage.folder / "backup" / "current_model")

    result = stage.roll_back("current_model")

    assert result.deployment == "tiny"
    assert [deployment.name for deployment in stage.ledger.deployments()] == ["tiny"]


def test_a_rollback_works_where_the_state_of_the_host_was_lost(stage: Stage, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere"
    other.mkdir()
    fresh = Stage(other)

    result = rollback_model(fresh.host, stage.folder / "backup" / "tiny", "new machine", fresh.reporter)

    assert result.promoted
    assert result.revision is not None
    assert result.revision.number == 1


def test_an_aborted_rollback_is_a_result(stage: Stage) -> None:
    before = stage.active()
    stage.control.abort_reason = "crashed"

    result = stage.roll_back()

    assert (result.promoted, result.aborted, result.aborted_reason) == (False, True, "crashed")
    assert stage.active() == before


def test_a_reason_is_kept_to_the_letter(stage: Stage) -> None:
    result = stage.roll_back(reason=EVIL)

    assert result.revision is not None
    assert result.revision.reason == EVIL


# --- gates for a rescue ---


def test_a_rescue_is_not_denied_for_memory_or_a_port(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.deploy(config=DeploymentConfig(memory=MemoryBudget(budget_mb=256)))
    stage.backup()
    stop_deployments(stage.host, None)
    stage.sandbox.peak_mb = 1000
    stage.facts.taken_ports = {8080}

    result = stage.roll_back()

    assert result.promoted
    assert "plan.monitoring" in {finding.check for finding in result.warnings}


def test_a_rescue_does_not_wait_for_what_only_measures(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.deploy()
    stage.backup()

    result = stage.roll_back()

    outcomes = {finding.check: finding for finding in result.checklist.findings}
    for check in ("plan.performance", "plan.memory", "plan.system_requirements", "plan.dependencies"):
        assert outcomes[check].outcome is Outcome.SKIPPED
        assert outcomes[check].reason == "a rescue does not wait for it"
    assert outcomes["integrity.digests"].outcome is Outcome.PASSED
    assert outcomes["model.load"].outcome is Outcome.PASSED
    assert (stage.sandbox.jobs[-1].repeats, stage.sandbox.jobs[-1].warmup) == (1, 0)


def test_a_package_that_does_not_load_is_denied_to_a_rescue_too(stage: Stage) -> None:
    head = stage.ledger.head()
    stage.sandbox.error = EngineError("cannot load", code="engine.load_failed")

    result = stage.roll_back()

    assert (result.allowed, result.promoted) == (False, False)
    assert [finding.check for finding in result.denied_by] == ["model.load"]
    assert stage.ledger.head() == head


def test_a_damaged_package_is_denied_to_a_rescue_too(stage: Stage) -> None:
    path = stage.folder / "backup" / "tiny" / "package.hyperion" / "weights" / "layer0.weights"
    content = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(content[:100] + b"\xff" + content[101:])
    head = stage.ledger.head()

    result = stage.roll_back()

    assert not result.allowed
    assert result.denied_by[0].check.startswith("integrity.")
    assert stage.ledger.head() == head


# --- wrong input ---


@pytest.mark.parametrize("reason", ["", "   ", "\n\t", "\x1b", "\u200b\u00a0"])
def test_a_reason_is_required(stage: Stage, reason: str) -> None:
    head = stage.ledger.head()

    with pytest.raises(ConfigError) as refusal:
        stage.roll_back(reason=reason)
    with pytest.raises(ConfigError) as note:
        document_rollback(stage.host, stage.folder / "backup" / "tiny", reason)

    assert refusal.value.code == note.value.code == "rollback.reason_required"
    assert stage.ledger.head() == head


@pytest.mark.parametrize(("reason", "code"), [("x" * 5000, "too_long"), (os.fsdecode(b"p95 \xff"), "not_utf8")])
def test_a_reason_that_cannot_be_kept_is_refused(stage: Stage, reason: str, code: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        stage.roll_back(reason=reason)

    assert refusal.value.code == f"rollback.reason_{code}"


@pytest.mark.parametrize("name", ["nothing", "../tiny0.hyperion", "empty"])
def test_what_is_no_backup_is_not_found(stage: Stage, name: str) -> None:
    (stage.folder / "backup" / "empty").mkdir()

    with pytest.raises(NotFoundError) as refusal:
        stage.roll_back(name)

    assert refusal.value.code == "backup.not_found"


def test_another_package_than_the_backup_names_is_refused(stage: Stage) -> None:
    package = stage.folder / "backup" / "tiny" / "package.hyperion"
    shutil.rmtree(package)
    write_package(package, entries(7), name="tiny")

    with pytest.raises(DigestMismatchError) as refusal:
        stage.roll_back()

    assert refusal.value.code == "backup.digest_mismatch"


def test_a_backup_without_its_package_is_refused(stage: Stage) -> None:
    shutil.rmtree(stage.folder / "backup" / "tiny" / "package.hyperion")

    with pytest.raises((NotFoundError, PackageError)):
        stage.roll_back()


@pytest.mark.parametrize("name", ["backup.json", "deployment.json"])
def test_unknown_keys_of_a_backup_are_named(stage: Stage, name: str) -> None:
    path = stage.folder / "backup" / "tiny" / name
    path.write_text(json.dumps(json.loads(path.read_text()) | {"colour": "red"}))

    with pytest.raises(ConfigError) as refusal:
        stage.roll_back()

    assert "colour" in [problem.path for problem in refusal.value.problems]


def test_a_backup_changed_to_a_public_address_is_refused(stage: Stage) -> None:
    path = stage.folder / "backup" / "tiny" / "deployment.json"
    changed = DeploymentConfig(serve=Serve(host="0.0.0.0"))  # noqa: S104
    path.write_text(changed.model_dump_json(by_alias=True))

    with pytest.raises(ConfigError) as refusal:
        stage.roll_back()

    assert refusal.value.code == "config.insecure_host"


# --- the record ---


def test_the_record_says_when_from_what_to_what_why_and_how_long(stage: Stage) -> None:
    asked_at = stage.clock.now()
    stage.roll_back(reason="p95 doubled")
    stage.clock.advance(30)

    record = document_rollback(stage.host, stage.folder / "backup" / "tiny", "told the customers")

    assert record.from_revision is not None
    assert (record.deployment, record.at, record.actor, record.reason) == ("tiny", asked_at, "alice", "p95 doubled")
    assert (record.from_revision.number, record.from_revision.version) == (2, "1.1.0")
    assert (record.to_revision.number, record.to_revision.version) == (3, "1.0.0")
    assert (record.state, record.duration_ms) == (RevisionState.ACTIVE, 2000)
    assert [(note.text, note.actor, note.at) for note in record.notes] == [
        ("told the customers", "alice", stage.clock.now())
    ]
    created = stage.ledger.events("tiny", [EventKind.REVISION_CREATED])[-1]
    assert (record.sequence, record.hash) == (created.sequence, created.hash)


@pytest.mark.parametrize("running", [True, False])
def test_a_note_is_an_event_of_the_ledger(stage: Stage, running: bool) -> None:
    stage.roll_back()
    stage.control.running = running

    document_rollback(stage.host, stage.folder / "backup" / "tiny", EVIL)

    event = stage.ledger.events()[-1]
    assert (event.kind, event.deployment, event.revision) == (EventKind.ROLLBACK_NOTED, "tiny", 3)
    assert event.data == {"note": EVIL}


def test_notes_gather_and_belong_to_the_latest_rollback(stage: Stage) -> None:
    backup = stage.folder / "backup" / "tiny"
    stage.roll_back()
    document_rollback(stage.host, backup, "first")
    document_rollback(stage.host, backup, "second")
    stage.roll_back(reason="again")

    record = document_rollback(stage.host, backup, "third")

    assert record.to_revision.number == 4
    assert [note.text for note in record.notes] == ["third"]


def test_the_record_of_an_aborted_rollback_says_why(stage: Stage) -> None:
    stage.control.abort_reason = "crashed"
    stage.roll_back()

    record = document_rollback(stage.host, stage.folder / "backup" / "tiny", "looking into it")

    assert (record.state, record.promoted_at, record.aborted_reason) == (RevisionState.ABORTED, None, "crashed")
    assert "aborted: crashed" in record.to_markdown()


def test_what_was_never_rolled_back_has_no_record_and_gets_no_note(stage: Stage) -> None:
    head = stage.ledger.head()

    with pytest.raises(NotFoundError) as refusal:
        document_rollback(stage.host, stage.folder / "backup" / "tiny", "why")

    assert refusal.value.code == "rollback.not_found"
    assert stage.ledger.head() == head


def test_the_markdown_shows_names_and_reasons_without_acting_upon_them(stage: Stage) -> None:
    stage.facts.name = "<b>al|ice</b>"
    stage.roll_back(reason=EVIL)

    page = document_rollback(stage.host, stage.folder / "backup" / "tiny", EVIL).to_markdown()

    assert "\x1b" not in page
    assert "<script>" not in page
    assert "<b>" not in page
    assert "\n# heading" not in page
    assert r"\*\*worse\*\*" in page
    rows = [line for line in page.splitlines() if line.startswith("| ")]
    assert all(line.replace(r"\|", "").count("|") == 3 for line in rows)


def test_the_markdown_of_a_rollback_of_nothing_says_so(stage: Stage) -> None:
    stop_deployments(stage.host, None)
    stage.roll_back()

    page = document_rollback(stage.host, stage.folder / "backup" / "tiny", "restored").to_markdown()

    assert "nothing was active" in page


def test_every_refusal_says_what_to_do(stage: Stage) -> None:
    backup = stage.folder / "backup" / "tiny"
    for ask in (
        lambda: stage.roll_back(reason=" "),
        lambda: stage.roll_back("nothing"),
        lambda: document_rollback(stage.host, backup, "why"),
    ):
        with pytest.raises(HyperionError) as refusal:
            ask()
        assert refusal.value.hint
