"""Memory of a host: what is claimed of it before anything starts, and what comes back when a revision is unloaded."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest
from tests.serving_kit import eventually, ledger_events, supervisor

from hyperion.adapters.host.memory import MemorySources
from hyperion.domain.event import Event, EventKind
from hyperion.errors import HostError

MIB = 1024**2


def unloaded(state: Path) -> list[Event]:
    return [event for event in ledger_events(state) if event.kind is EventKind.WORKERS_UNLOADED]


def test_budgets_beyond_the_host_are_refused_before_anything_starts(packages: Path, tmp_path: Path) -> None:
    half_mb = (MemorySources().total_bytes() or 0) // MIB // 2 + 1
    with supervisor(tmp_path) as running:
        running.deploy(packages / "v1.hyperion", memory={"budget_mb": half_mb})
        with pytest.raises(HostError) as refused:
            running.deploy(packages / "v1.hyperion", "other", memory={"budget_mb": half_mb})

    assert refused.value.code == "host.memory_claimed"
    assert {event.deployment for event in ledger_events(tmp_path)} == {None, "shop"}


def test_each_unload_is_measured_and_leaves_no_process(packages: Path, tmp_path: Path) -> None:
    with supervisor(tmp_path) as running:
        running.deploy(packages / "v1.hyperion", workers=2, keep_warm_s=0)
        pids = running.worker_pids()
        running.deploy(packages / "v2.hyperion", keep_warm_s=0)
        (event,) = eventually(lambda: unloaded(tmp_path), what="the end of the old workers")

        assert not any(map(psutil.pid_exists, pids))
        assert (event.revision, event.data["workers"]) == (1, 2)
        assert all(isinstance(event.data[f"host_{when}_bytes"], int) for when in ("before", "after"))
        taken = event.data["taken_bytes"]
        assert isinstance(taken, int)
        assert taken > 2 * 10 * MIB  # of two processes with an engine each
