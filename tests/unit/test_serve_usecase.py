"""``hyperion serve``: everything that is desired is waited for, with patience that ends."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.fakes.stage import Stage

from hyperion.usecases.serve import PATIENCE_S, all_served, bring_back


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def test_a_supervisor_is_started_and_what_it_serves_is_told(stage: Stage) -> None:
    stage.deploy(0)

    status = bring_back(stage.host, stage.reporter)

    assert stage.control.running
    assert all_served(status)
    assert [item.deployment.name for item in status.deployments] == ["tiny"]


def test_nothing_to_serve_is_served_at_once(stage: Stage) -> None:
    before = stage.clock.monotonic()

    status = bring_back(stage.host, stage.reporter)

    assert all_served(status)
    assert stage.clock.monotonic() == before


def test_what_does_not_come_up_is_not_waited_for_without_end(stage: Stage) -> None:
    stage.deploy(0)
    stage.control.workers_start = False
    before = stage.clock.monotonic()

    status = bring_back(stage.host, stage.reporter)

    assert not all_served(status)
    assert stage.clock.monotonic() - before == pytest.approx(PATIENCE_S, abs=1)
