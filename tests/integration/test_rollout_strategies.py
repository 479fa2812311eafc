"""Canaries, flips, returns and hosts without room for two, with real processes and clients that never retry."""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.ports import free_port
from tests.serving_kit import Foreground, Load, call, eventually, infer_body, ledger_events, supervisor

from hyperion.domain.command import DeploymentStatus, Until
from hyperion.domain.deployment import Origin
from hyperion.domain.event import EventKind
from hyperion.domain.serving_state import RolloutState
from hyperion.errors import ConfigError

INFER = "/v2/models/shop/infer"
CANARY: dict[str, Any] = {
    "strategy": "canary",
    "canary": {"steps": [{"share": 0.2, "bake_s": 1}, {"share": 0.5, "bake_s": 1}]},
    "gates": {"min_samples": 10, "watch_s": 0, "latency_floor": 100, "golden_replay_s": 0.5},
}


@contextmanager
def under_load(url: str, keep_alive: int = 4, one_shot: int = 2) -> Iterator[Load]:
    """Clients meanwhile, of whom none may lose a request."""
    load = Load(url, INFER, infer_body()).start(keep_alive, one_shot)
    try:
        eventually(lambda: len(load.answers) > 50, what="the first answers")
        yield load
        served = len(load.answers)
        eventually(lambda: len(load.answers) > served + 50, what="answers at the end")
    finally:
        load.stop()
    assert load.failures == []


def shop(running: Foreground) -> DeploymentStatus:
    return running.status().deployments[0]


def kinds(state: Path, revision: int) -> list[EventKind]:
    """What the ledger tells of a revision's rollout."""
    return [e.kind for e in ledger_events(state) if e.revision == revision and e.kind.startswith("rollout.")]


def test_a_canary_gets_its_shares_and_then_all_traffic(packages: Path, tmp_path: Path) -> None:
    with supervisor(tmp_path) as running, ThreadPoolExecutor(1) as pool:
        url = str(running.deploy(packages / "v1.hyperion").url)
        with under_load(url) as load:
            rollout = pool.submit(running.deploy, packages / "v2.hyperion", **CANARY)
            eventually(lambda: (r := shop(running).rollout) is not None and r.share == 0.5, what="the second step")
            at_step = len(load.answers)
            found = rollout.result(60)
            counted = Counter(revision for _, revision in load.answers[at_step:])
        assert (found.promoted, found.state) == (True, RolloutState.PROMOTED)
        assert counted["2"] > 0
        told = [
            EventKind.ROLLOUT_STARTED,
            EventKind.ROLLOUT_CANARY,
            EventKind.ROLLOUT_CANARY,
            EventKind.ROLLOUT_PROMOTED,
            EventKind.ROLLOUT_SHIFTED,
        ]
        eventually(lambda: kinds(tmp_path, 2) == told, what="its events")  # the last one is written after the answer
        assert call(url + INFER, infer_body())[1]["parameters"] == {"revision": 2}


@pytest.mark.slow
def test_a_canary_that_dies_is_aborted_and_nobody_notices(packages: Path, tmp_path: Path) -> None:
    slowly = CANARY | {"canary": {"steps": [{"share": 0.5, "bake_s": 60}]}}
    with supervisor(tmp_path) as running, ThreadPoolExecutor(1) as pool:
        url = str(running.deploy(packages / "v1.hyperion").url)
        with under_load(url) as load:
            rollout = pool.submit(running.deploy, packages / "v2.hyperion", **slowly)
            eventually(lambda: "2" in load.revisions(), what="an answer of the canary")
            (pid,) = [worker.pid for worker in shop(running).workers if worker.revision == 2]
            os.kill(pid, signal.SIGKILL)
            found = rollout.result(60)
        assert (found.promoted, found.state) == (False, RolloutState.ABORTED)
        assert "SIGKILL" in str(found.reason)
        assert call(url + INFER, infer_body())[1]["parameters"] == {"revision": 1}


def test_a_rollback_to_the_warm_revision_takes_its_very_processes(packages: Path, tmp_path: Path) -> None:
    with supervisor(tmp_path) as running:
        url = str(running.deploy(packages / "v1.hyperion").url)
        first = running.worker_pids()
        second = running.deploy(packages / "v2.hyperion")
        warm = shop(running).warm
        assert warm is not None
        assert (warm.revision.number, second.state) == (1, RolloutState.BAKING)
        bad = running.worker_pids()
        with under_load(url) as load:
            back = running.deploy(packages / "v1.hyperion", origin=Origin.ROLLBACK)
            assert running.worker_pids() == first
            since = len(load.answers)
            again = running.deploy(packages / "v2.hyperion", origin=Origin.ROLLBACK)
            assert running.worker_pids() == bad
        assert (back.promoted, back.revision.number) == (True, 3)
        assert (again.promoted, again.revision.number) == (True, 4)
        assert {revision for _, revision in load.answers[since + 20 :]} <= {"3", "4"}
        assert call(url + INFER, infer_body())[2]["hyperion-revision"] == "4"


@pytest.mark.slow
def test_warmth_ends_after_its_time(packages: Path, tmp_path: Path) -> None:
    with supervisor(tmp_path) as running:
        running.deploy(packages / "v1.hyperion")
        running.deploy(packages / "v2.hyperion", keep_warm_s=0.5)
        eventually(lambda: shop(running).warm is None and len(shop(running).workers) == 1, what="the end of warmth")
        assert EventKind.WARMTH_ENDED in {event.kind for event in ledger_events(tmp_path)}
        back = running.deploy(packages / "v1.hyperion", origin=Origin.ROLLBACK)
        assert back.promoted, "cold, but there"


@pytest.mark.slow
def test_a_revision_that_crashes_under_watch_is_left_by_itself(packages: Path, tmp_path: Path) -> None:
    with supervisor(tmp_path) as running, ThreadPoolExecutor(1) as pool:
        url = str(running.deploy(packages / "v1.hyperion").url)
        followed = pool.submit(running.deploy, packages / "v2.hyperion", until=Until.FINISHED)
        eventually(lambda: (r := shop(running).rollout) is not None and r.state is RolloutState.BAKING)
        killed: set[int] = set()
        while not followed.done():
            for worker in shop(running).workers:
                if worker.revision == 2 and worker.pid not in killed:
                    killed.add(worker.pid)
                    os.kill(worker.pid, signal.SIGKILL)
            threading.Event().wait(0.02)
        found = followed.result(60)
        assert (found.promoted, found.state) == (False, RolloutState.ROLLED_BACK)
        assert "2 crashes in a row" in str(found.reason)
        status, answer, _ = call(url + INFER, infer_body())
        assert (status, answer["parameters"]) == (200, {"revision": 3})
        active = shop(running).active
        assert active is not None
        assert (active.origin, active.actor) == (Origin.ROLLBACK, "supervisor")
        assert EventKind.ROLLOUT_ROLLED_BACK in kinds(tmp_path, 2)


def test_a_rollback_does_not_wait_for_a_canary_but_takes_its_share_back(packages: Path, tmp_path: Path) -> None:
    with supervisor(tmp_path) as running, ThreadPoolExecutor(1) as pool:
        url = str(running.deploy(packages / "v1.hyperion").url)
        long = CANARY | {"canary": {"steps": [{"share": 0.5, "bake_s": 600}]}}
        with under_load(url):
            tried = pool.submit(running.deploy, packages / "v2.hyperion", **long)
            eventually(lambda: (r := shop(running).rollout) is not None and r.state is RolloutState.CANARY)
            back = running.deploy(packages / "v1.hyperion", origin=Origin.ROLLBACK)
        assert back.promoted
        found = tried.result(60)
        assert (found.state, found.reason) == (RolloutState.ABORTED, "a rollback was asked for: a test")


@pytest.mark.slow
def test_recreate_stops_the_old_one_first_and_brings_it_back_where_the_new_one_fails(
    packages: Path, tmp_path: Path
) -> None:
    with supervisor(tmp_path) as running:
        url = str(running.deploy(packages / "v1.hyperion").url)
        failed = running.deploy(packages / "wrong.hyperion", strategy="recreate")
        assert (failed.promoted, failed.state) == (False, RolloutState.ABORTED)
        assert call(url + INFER, infer_body())[1]["parameters"] == {"revision": 1}
        assert running.deploy(packages / "v2.hyperion", strategy="recreate").promoted
        assert call(url + INFER, infer_body())[1]["parameters"] == {"revision": 3}
        assert [worker.revision for worker in shop(running).workers] == [3]


@pytest.mark.slow
def test_a_warm_spare_takes_the_place_of_a_worker_that_dies(packages: Path, tmp_path: Path) -> None:
    with supervisor(tmp_path) as running:
        url = str(running.deploy(packages / "v1.hyperion", warm_spare=True).url)
        spare = eventually(lambda: [worker.pid for worker in shop(running).workers if worker.state == "gated"])
        (pid,) = running.worker_pids()
        os.kill(pid, signal.SIGKILL)
        assert call(url + INFER, infer_body())[0] == 200
        assert running.worker_pids() == spare
        eventually(lambda: [w for w in shop(running).workers if w.state == "gated"], what="the next spare")


@pytest.mark.slow
def test_a_client_that_does_not_wait_is_answered_at_once(packages: Path, tmp_path: Path) -> None:
    with supervisor(tmp_path) as running:
        begun = running.deploy(packages / "v1.hyperion", until=Until.STARTED)
        assert (begun.promoted, begun.state) == (False, RolloutState.PLANNED)
        eventually(running.worker_pids, what="the rollout's end")


@pytest.mark.slow
def test_a_canary_that_moves_to_another_port_is_refused(packages: Path, tmp_path: Path) -> None:
    with supervisor(tmp_path) as running:
        running.deploy(packages / "v1.hyperion")
        with pytest.raises(ConfigError) as caught:
            running.deploy(packages / "v2.hyperion", serve={"port": free_port()}, **CANARY)
        assert caught.value.code == "rollout.canary_moves"
        assert not shop(running).updating
