"""The status at a glance: whether each deployment serves, what its rollout does, what its workers take."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.clock import START
from tests.fakes.stage import Stage

from hyperion.cli.render import make_console
from hyperion.cli.render_deployment import show_status
from hyperion.domain.command import RolloutStatus
from hyperion.domain.metrics import WorkerFigures
from hyperion.domain.serving_state import RolloutState
from hyperion.usecases.status import HostStatus, read_status

MIB = 1024**2


@pytest.fixture
def status(tmp_path: Path) -> HostStatus:
    stage = Stage(tmp_path)
    stage.deploy()
    return read_status(stage.host)


def worker(index: int, revision: int, mib: int | None) -> WorkerFigures:
    return WorkerFigures(
        worker=f"r{revision}-w{index}", pid=index, revision=revision, state="accepting", inflight=0,
        resident_bytes=None if mib is None else mib * MIB, cpu_s=None, started_at=START,
    )  # fmt: skip


def row(status: HostStatus, **changes: Any) -> str:
    """The only deployment's row, changed so."""
    (deployment,) = status.deployments
    page = StringIO()
    changed = status.model_copy(update={"deployments": (deployment.model_copy(update=changes),)})
    show_status(make_console(page), changed)
    return page.getvalue().splitlines()[1]


def test_workers_that_serve_on_without_a_supervisor_are_not_called_dead(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.deploy()
    stage.control.running, stage.control.left_orphans = False, True

    status = read_status(stage.host)

    assert status.memory.resident_bytes is None
    assert "unsupervised, TROUBLE" in row(status)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, "  serving  "),
        ({"rollout": RolloutStatus(revision=1, state=RolloutState.PROMOTED)}, "  serving  "),
        ({"rollout": RolloutStatus(revision=2, state=RolloutState.PROVING), "updating": True}, "serving, updating  "),
        (
            {"rollout": RolloutStatus(revision=2, state=RolloutState.CANARY, share=0.05), "updating": True},
            "serving, 5% to revision 2  ",
        ),
        ({"rollout": RolloutStatus(revision=1, state=RolloutState.BAKING)}, "serving, watched  "),
        ({"serving": False, "trouble": "its worker was given up"}, "not serving, TROUBLE  "),
    ],
)
def test_the_state_says_whether_it_serves_and_what_its_rollout_does(
    status: HostStatus, changes: dict[str, Any], told: str
) -> None:
    assert told in row(status, **changes)


def test_the_memory_is_that_of_all_workers_and_their_number_is_the_active_revisions(status: HostStatus) -> None:
    cells = row(status, workers=(worker(0, 1, 100), worker(1, 1, 60), worker(0, 7, 40))).split()

    assert cells[4:7] == ["1", "2", "200"]


def test_memory_that_the_host_does_not_say_is_no_figure(status: HostStatus) -> None:
    assert row(status, workers=(worker(0, 1, 100), worker(1, 1, None))).split()[6] == "-"
