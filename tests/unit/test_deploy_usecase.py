"""deploy_model: check, decide, hand over, follow; and every way to say no."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.fakes.stage import Stage

from hyperion.domain.command import Deploy, Until
from hyperion.domain.config import DeploymentConfig, MemoryBudget, Serve
from hyperion.domain.deployment import Origin
from hyperion.domain.finding import Outcome
from hyperion.domain.rollout_policy import Gates
from hyperion.errors import ConfigError, ConflictError, EngineError, HostError, NotFoundError, PackageError
from hyperion.usecases.deploy import deploy_model


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def test_a_first_deploy_is_promoted_under_the_name_of_its_package(stage: Stage) -> None:
    result = stage.deploy()

    active = stage.active()
    assert active is not None
    assert (result.allowed, result.promoted, result.aborted, result.unchanged) == (True, True, False, False)
    assert result.revision == active
    assert (active.number, active.origin, active.actor, active.config.name) == (1, Origin.DEPLOY, "alice", "tiny")
    assert (result.deployment, result.url, result.previous) == ("tiny", "http://127.0.0.1:8080", None)
    assert result.duration_ms == 2000


def test_the_config_names_the_deployment(stage: Stage) -> None:
    result = stage.deploy(config=DeploymentConfig(name="current_model"))

    assert result.deployment == "current_model"
    assert result.revision is not None
    assert result.revision.config.name == "current_model"


def test_the_supervisor_is_told_the_absolute_path_the_checked_digest_and_the_checklist(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(stage.package().parent)

    result = deploy_model(stage.host, Path("tiny0.hyperion"), DeploymentConfig(), stage.reporter)

    (command,) = (command for command in stage.control.asked if isinstance(command, Deploy))
    assert command.package_path == str(stage.folder / "tiny0.hyperion")
    assert (command.expected_digest, command.checklist) == (result.digest, result.checklist)


def test_progress_of_the_supervisor_reaches_the_reporter(stage: Stage) -> None:
    stage.deploy()

    assert "admit: into the store" in stage.reporter.infos


@pytest.mark.parametrize("until", Until)
def test_the_supervisor_is_told_what_the_command_waits_for(stage: Stage, until: Until) -> None:
    result = deploy_model(stage.host, stage.package(), DeploymentConfig(), stage.reporter, until=until)

    (command,) = (command for command in stage.control.asked if isinstance(command, Deploy))
    assert command.until is until
    assert (result.promoted, result.detached) == (until is not Until.STARTED, until is Until.STARTED)


def test_who_follows_to_the_end_learns_that_the_supervisor_went_back(stage: Stage) -> None:
    stage.control.breach = "errors 4 %"

    result = deploy_model(stage.host, stage.package(), DeploymentConfig(), stage.reporter, until=Until.FINISHED)

    assert (result.promoted, result.aborted, result.rolled_back) == (False, False, True)
    assert result.aborted_reason == "errors 4 %"


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (DeploymentConfig(), ("keep it warm for 600 s", "watch revision 2 for 60 s and go back by itself")),
        (DeploymentConfig(strategy="canary"), ("forward 5% of the requests to revision 2 for 60 s", "25%")),
        (DeploymentConfig(strategy="recreate"), ("stop it: from here on requests wait or fail",)),
        (DeploymentConfig(keep_warm_s=0, gates=Gates(automatic=False)), ("and stop it", "for 60 s and alert")),
    ],
)
def test_a_dry_run_tells_how_traffic_would_move(stage: Stage, config: DeploymentConfig, words: tuple[str, ...]) -> None:
    stage.deploy()

    result = stage.deploy(1, version="1.1.0", config=config, dry_run=True, override="a test")

    steps = "\n".join(result.plan)
    assert all(word in steps for word in words), steps


def test_a_second_version_replaces_the_first(stage: Stage) -> None:
    first = stage.deploy(0).revision

    result = stage.deploy(1, version="1.1.0")

    assert result.promoted
    assert result.previous == first
    assert result.revision is not None
    assert (result.revision.number, result.revision.replaces) == (2, 1)


def test_the_same_package_and_config_again_change_nothing(stage: Stage) -> None:
    first = stage.deploy()
    head = stage.ledger.head()

    result = stage.deploy()

    assert result.allowed
    assert result.unchanged
    assert not result.promoted
    assert (result.revision, result.url) == (first.revision, first.url)
    assert stage.ledger.head() == head


def test_what_is_active_is_not_called_unchanged_while_a_rollout_takes_its_place(stage: Stage) -> None:
    stage.deploy()
    stage.control.updating = True

    with pytest.raises(ConflictError, match="revision 1 of 'tiny' serves this package, and a rollout") as caught:
        stage.deploy()

    assert caught.value.code == "rollout.in_progress"
    assert "rollback model --to 1 --name tiny" in str(caught.value.hint)


def test_only_a_schema_reference_more_is_the_same_config(stage: Stage) -> None:
    stage.deploy()

    result = stage.deploy(config=DeploymentConfig.model_validate({"$schema": "deployment.schema.json"}))

    assert result.unchanged


def test_another_config_of_the_same_package_is_a_new_revision(stage: Stage) -> None:
    stage.deploy()

    result = stage.deploy(config=DeploymentConfig(workers=2))

    assert result.promoted
    assert result.revision is not None
    assert result.revision.number == 2


def test_what_is_active_but_not_served_is_deployed_again(stage: Stage) -> None:
    stage.deploy()
    stage.control.running = False

    result = stage.deploy()

    assert not result.unchanged
    assert result.promoted


def test_a_supervisor_that_ends_while_it_is_asked_counts_as_none(stage: Stage) -> None:
    stage.deploy()
    stage.control.goes_away = True

    with pytest.raises(HostError) as refusal:  # the fake one goes away again after it was started
        stage.deploy()

    assert refusal.value.code == "supervisor.not_running"


def test_an_aborted_rollout_is_a_result_and_the_old_revision_stays(stage: Stage) -> None:
    first = stage.deploy(0).revision
    stage.control.abort_reason = "golden request sample: expected 0.5, found NaN"

    result = stage.deploy(1, version="1.1.0")

    assert (result.allowed, result.promoted, result.aborted) == (True, False, True)
    assert result.aborted_reason == "golden request sample: expected 0.5, found NaN"
    assert result.revision is not None
    assert result.revision.number == 2
    assert result.url is None
    assert stage.active() == first


def test_a_lower_version_is_allowed_with_a_warning(stage: Stage) -> None:
    stage.deploy(0, version="2.0.0")

    result = stage.deploy(1, version="2.0.0-rc.1")

    assert result.promoted
    assert "plan.version_step" in [finding.check for finding in result.warnings]


@pytest.mark.parametrize("version", ["2.0.1", "2.1.0", "3.0.0-rc.1"])
def test_a_version_that_is_higher_gets_no_such_warning(stage: Stage, version: str) -> None:
    stage.deploy(0, version="2.0.0")

    result = stage.deploy(1, version=version)

    assert "plan.version_step" not in [finding.check for finding in result.warnings]


# --- the gate says no ---


@pytest.mark.parametrize(
    ("code", "message"),
    [("engine.load_failed", "no such operator"), ("engine.crashed", "signal 11"), ("engine.timeout", "120 s")],
)
def test_a_model_that_does_not_load_crashes_or_hangs_is_denied_and_nothing_changes(
    stage: Stage, code: str, message: str
) -> None:
    first = stage.deploy(0).revision
    stage.package(1, version="1.1.0")
    head, files = stage.ledger.head(), stage.files()
    stage.sandbox.error = EngineError(message, code=code)

    result = stage.deploy(1, version="1.1.0")

    assert not result.allowed
    assert not result.promoted
    assert result.revision is None
    assert message in str(result.denied_by[0].reason)
    assert (stage.ledger.head(), stage.files(), stage.active()) == (head, files, first)


def test_a_model_over_its_memory_budget_is_denied(stage: Stage) -> None:
    stage.sandbox.peak_mb = 300

    result = stage.deploy(config=DeploymentConfig(memory=MemoryBudget(budget_mb=256)))

    assert not result.allowed
    assert [finding.check for finding in result.denied_by] == ["plan.memory"]
    assert stage.ledger.deployments() == ()
    assert not stage.control.running


def test_a_port_in_use_is_denied_before_anything_is_started(stage: Stage) -> None:
    stage.facts.taken_ports = {8080}

    result = stage.deploy()

    assert not result.allowed
    assert "8080" in result.denied_by[0].summary
    assert not stage.control.running


def test_a_denied_checklist_is_kept_under_the_deployment(stage: Stage) -> None:
    stage.facts.taken_ports = {8080}

    result = stage.deploy()

    assert stage.reports.recent("tiny", "checklist") == (result.checklist,)


# --- wrong input ---


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "192.168.1.5", "example.org", "", "localhost.evil.example"])  # noqa: S104
def test_a_host_beyond_loopback_needs_insecure(stage: Stage, address: str) -> None:
    config = DeploymentConfig(serve=Serve(host=address))

    with pytest.raises(ConfigError) as refusal:
        stage.deploy(config=config)

    assert refusal.value.code == "config.insecure_host"
    assert refusal.value.problems[0].path == "serve.host"
    assert not stage.control.running
    assert stage.reports.recent("tiny") == ()


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_loopback_needs_no_leave(stage: Stage, address: str) -> None:
    assert stage.deploy(config=DeploymentConfig(serve=Serve(host=address))).promoted


@pytest.mark.parametrize(("flag", "key"), [(True, False), (False, True)])
def test_insecure_by_flag_or_by_key_is_recorded_with_the_revision(stage: Stage, flag: bool, key: bool) -> None:
    config = DeploymentConfig(serve=Serve(host="0.0.0.0", insecure=key))  # noqa: S104

    result = stage.deploy(config=config, insecure=flag)

    assert result.revision is not None
    assert result.revision.config.serve.insecure


def test_a_path_without_a_package_is_not_found(stage: Stage) -> None:
    with pytest.raises(NotFoundError):
        deploy_model(stage.host, stage.folder / "nothing.hyperion", DeploymentConfig(), stage.reporter)


def test_a_file_that_is_no_package_is_refused(stage: Stage) -> None:
    (stage.folder / "bad.hyperion").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")

    with pytest.raises(PackageError):
        deploy_model(stage.host, stage.folder / "bad.hyperion", DeploymentConfig(), stage.reporter)


def test_a_path_that_is_not_utf8_is_refused(stage: Stage) -> None:
    path = stage.folder / os.fsdecode(b"\xff.hyperion")

    with pytest.raises(ConfigError) as refusal:
        deploy_model(stage.host, path, DeploymentConfig(), stage.reporter)

    assert refusal.value.code == "config.path_not_utf8"


# --- dry run ---


def test_a_dry_run_says_the_steps_and_changes_nothing(stage: Stage) -> None:
    stage.deploy(0)
    stage.package(1, version="1.1.0")
    stage.control.running = False
    head, files, reports = stage.ledger.head(), stage.files(), stage.reports.recent("tiny")

    result = stage.deploy(1, version="1.1.0", config=DeploymentConfig(workers=2, drain_timeout_s=7), dry_run=True)

    steps = "\n".join(result.plan)
    assert result.dry_run
    assert result.allowed
    assert not result.promoted
    assert "start the supervisor" in result.plan[0]
    assert all(words in steps for words in ("revision 2", "2 workers", "port 8080", "drain revision 1", "7 s"))
    assert (stage.ledger.head(), stage.files(), stage.reports.recent("tiny")) == (head, files, reports)
    assert not stage.control.running


def test_the_plan_of_a_first_revision_says_that_no_canary_can_be_held_against_anything(stage: Stage) -> None:
    stage.package(0)

    result = stage.deploy(0, config=DeploymentConfig(strategy="canary"), dry_run=True)

    assert result.plan[-1].endswith("to revision 1, at once: there is nothing to compare it with")


def test_a_dry_run_of_what_is_served_already_says_so(stage: Stage) -> None:
    stage.deploy()

    result = stage.deploy(dry_run=True)

    assert (result.dry_run, result.unchanged, result.plan) == (True, True, ())


def test_a_denied_dry_run_is_denied(stage: Stage) -> None:
    stage.facts.taken_ports = {8080}

    result = stage.deploy(dry_run=True)

    assert (result.allowed, result.dry_run, result.plan) == (False, True, ())


def test_the_checklist_has_what_only_people_can_answer_as_manual(stage: Stage) -> None:
    result = stage.deploy(config=DeploymentConfig(team="ml-ops"))

    outcomes = {finding.check: finding.outcome for finding in result.checklist.findings}
    assert outcomes["plan.window"] is Outcome.MANUAL
    assert outcomes["plan.team"] is Outcome.PASSED
