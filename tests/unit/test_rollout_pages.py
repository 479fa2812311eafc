"""What people read of a rollout: in the status, and as the last line of a deploy."""

from __future__ import annotations

from datetime import UTC, datetime
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from tests.fakes.stage import Stage

from hyperion.cli.deploy import answer_deployed
from hyperion.cli.main import run
from hyperion.cli.render_deployment import show_status
from hyperion.domain.command import RolloutStatus, Until, WarmRevision
from hyperion.domain.confinement import Protection
from hyperion.domain.serving_state import RolloutState
from hyperion.usecases.status import HostStatus, read_status


@pytest.fixture
def status(tmp_path: Path) -> HostStatus:
    stage = Stage(tmp_path)
    stage.deploy()
    return read_status(stage.host)


def shown(status: HostStatus, **changes: object) -> str:
    """The page of a status whose only deployment is changed so."""
    (deployment,) = status.deployments
    page = StringIO()
    changed = status.model_copy(update={"deployments": (deployment.model_copy(update=changes),)})
    show_status(Console(file=page, width=200, markup=False, highlight=False), changed)
    return page.getvalue()


def test_the_status_says_what_a_canary_gets_and_what_the_gates_say(status: HostStatus) -> None:
    rollout = RolloutStatus(revision=2, state=RolloutState.CANARY, share=0.05, gates="baking: 3 of 60 s")

    page = shown(status, rollout=rollout)

    assert "tiny: the rollout of revision 2 is canary with 5% of the requests; baking: 3 of 60 s" in page


def test_the_status_says_why_a_revision_was_left(status: HostStatus) -> None:
    rollout = RolloutStatus(revision=2, state=RolloutState.ROLLED_BACK, reason="errors 4 %")

    assert "the rollout of revision 2 is rolled back: errors 4 %" in shown(status, rollout=rollout)


def test_the_status_says_nothing_of_a_rollout_that_went_well(status: HostStatus) -> None:
    assert "rollout" not in shown(status, rollout=RolloutStatus(revision=1, state=RolloutState.PROMOTED))


def test_the_status_says_what_is_kept_warm_and_what_it_costs(status: HostStatus) -> None:
    (deployment,) = status.deployments
    assert deployment.active is not None
    until = datetime(2026, 11, 23, 4, 0, tzinfo=UTC)
    warm = WarmRevision(revision=deployment.active, until=until, resident_bytes=96 * 2**20)

    assert "tiny 1.0.0 (revision 1) is kept warm until 2026-11-23 04:00:00Z, 96 MiB" in shown(status, warm=warm)


def test_the_status_says_what_confines_the_workers_and_what_is_missing(status: HostStatus) -> None:
    there = Protection(name="file_access", in_force=True, detail="Landlock, version 7: files outside its own")
    missing = Protection(name="memory", in_force=False, detail="no limit by the kernel: no control group")

    page = shown(status, protections=(there, missing))

    assert "tiny: workers are confined by Landlock\n" in page
    assert "tiny: workers are NOT confined by cgroup: no limit by the kernel: no control group\n" in page


def test_a_deploy_that_was_gone_back_from_ends_with_7(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stage = Stage(tmp_path)
    stage.control.breach = "errors 4 %"

    result = stage.deploy(until=Until.FINISHED)

    assert answer_deployed(result, as_json=False) == 7
    told = "gone back from tiny 1.0.0 (revision 1): errors 4 %; active now: tiny 1.0.0 (revision 1)"
    assert told in capsys.readouterr().out


def test_a_deploy_that_waits_for_nothing_says_where_to_look(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = Stage(tmp_path).deploy(until=Until.STARTED)

    assert answer_deployed(result, as_json=False) == 0
    assert "'hyperion history tiny' shows what becomes of it" in capsys.readouterr().out


def test_to_follow_and_to_detach_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["deploy", "model", "--input", "x.hyperion", "--follow", "--detach"]) == 2
    assert "choose one" in capsys.readouterr().err
