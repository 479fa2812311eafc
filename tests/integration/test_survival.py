"""Workers outlive their supervisor, and the next one adopts them: same processes, same sockets, no request lost."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.serving_kit import Foreground, Load, call, eventually, infer_body, ledger_events, supervisor

from hyperion.adapters.service.control_client import SupervisorClient
from hyperion.domain.event import EventKind
from hyperion.domain.serving_state import RolloutState

INFER = "/v2/models/shop/infer"


def killed(running: Foreground) -> None:
    """``kill -9`` the supervisor."""
    running.process.kill()
    running.process.wait()


def lives(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def shop(running: Foreground) -> tuple[int | None, int | None]:
    """Desired and active revision."""
    found = running.status().deployments[0].deployment
    return found.desired_revision, found.active_revision


def kinds(state: Path) -> list[EventKind]:
    return [event.kind for event in ledger_events(state)]


def all_pids(running: Foreground) -> set[int]:
    return {worker.pid for worker in running.status().deployments[0].workers}


def hyperion(state: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hyperion", *arguments],
        env=os.environ | {"HYPERION_HOME": str(state)}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_a_killed_supervisor_costs_no_request_and_the_next_one_adopts_its_workers(
    packages: Path, tmp_path: Path
) -> None:
    with supervisor(tmp_path) as first:
        url = str(first.deploy(packages / "v1.hyperion", workers=2).url)
        before = sorted(first.worker_pids())
        load = Load(url, INFER, infer_body()).start()
        eventually(lambda: len(load.answers) > 50)

        killed(first)
        served = len(load.answers)
        eventually(lambda: len(load.answers) > served + 50, what="answers without a supervisor")
        with supervisor(tmp_path) as second:
            eventually(lambda: len(second.worker_pids()) == 2, what="the adoption")
            assert sorted(second.worker_pids()) == before
            assert second.status().deployments[0].url == url
            served = len(load.answers)
            eventually(lambda: len(load.answers) > served + 50)

            assert second.deploy(packages / "v2.hyperion", workers=2).promoted  # sockets and channels work
            eventually(lambda: load.revisions() == {"1", "2"})
            load.stop()
            assert load.failures == []
            adopted = [event for event in ledger_events(tmp_path) if event.kind is EventKind.WORKERS_ADOPTED]
            assert [sorted(event.data["pids"]) for event in adopted] == [before]  # type: ignore[arg-type]
        eventually(lambda: not any(lives(pid) for pid in before))


@pytest.mark.slow
def test_an_adopted_worker_that_dies_is_replaced_and_the_replacement_adopted(packages: Path, tmp_path: Path) -> None:
    with supervisor(tmp_path) as first:
        url = str(first.deploy(packages / "v1.hyperion").url)
        (pid,) = first.worker_pids()
        killed(first)
        with supervisor(tmp_path) as second:
            os.kill(eventually(second.worker_pids)[0], signal.SIGKILL)
            (fresh,) = eventually(lambda: [p for p in second.worker_pids() if p != pid], what="the replacement")
            killed(second)
            with supervisor(tmp_path) as third:
                assert eventually(third.worker_pids) == [fresh]
                assert call(url + INFER, infer_body())[0] == 200


@pytest.mark.slow
def test_a_stop_without_a_supervisor_ends_the_workers_that_one_left(packages: Path, tmp_path: Path) -> None:
    with supervisor(tmp_path) as running:
        running.deploy(packages / "v1.hyperion")
        (pid,) = running.worker_pids()
        killed(running)
        assert "serve on" in hyperion(tmp_path, "status").stdout

        stopped = hyperion(tmp_path, "stop", "--all", "--json")

        assert (stopped.returncode, json.loads(stopped.stdout)["names"]) == (0, ["shop"]), stopped.stderr
        eventually(lambda: not lives(pid), what="the worker's end")
        eventually(lambda: running.client.ping() is None, what="the supervisor's end")


def kill_in_prove(running: Foreground, _load: Load) -> None:
    eventually(lambda: any(worker.revision == 2 for worker in running.status().deployments[0].workers))
    killed(running)


def kill_in_canary(running: Foreground, load: Load) -> None:
    eventually(lambda: "2" in load.revisions(), what="an answer of the canary")
    killed(running)


SLOW_PROMOTION = """CREATE TRIGGER slow BEFORE INSERT ON events WHEN NEW.kind = 'rollout.promoted' BEGIN
    SELECT count(*) FROM events a, events b, events c, events d, events e, events f, events g, events h, events i;
    END"""
"""Makes the ledger count for longer than a test lasts before it takes this event."""


def kill_in_shift(running: Foreground, load: Load) -> None:
    """The candidate takes traffic, and the ledger does not yet say that it may."""
    with closing(sqlite3.connect(running.state / "ledger.db", isolation_level=None, timeout=20)) as ledger:
        ledger.execute(SLOW_PROMOTION)
        eventually(lambda: "2" in load.revisions(), what="an answer of the candidate")
        killed(running)
        ledger.execute("DROP TRIGGER slow")


def kill_in_bake(running: Foreground, _load: Load) -> None:
    eventually(lambda: shop(running) == (2, 2), what="the promotion")
    killed(running)


CANARY = {"strategy": "canary", "canary": {"steps": [{"share": 0.3, "bake_s": 60}]}}
STAGES: dict[str, tuple[Callable[[Foreground, Load], None], dict[str, Any]]] = {
    "prove": (kill_in_prove, {}),
    "canary": (kill_in_canary, CANARY),
    "shift": (kill_in_shift, {}),
    "bake": (kill_in_bake, {}),
}


@pytest.mark.parametrize(
    "stage", [pytest.param(stage, marks=() if stage in ("canary", "shift") else pytest.mark.slow) for stage in STAGES]
)
def test_a_rollout_that_a_killed_supervisor_left_is_finished_where_promoted_and_else_reverted(
    packages: Path, tmp_path: Path, stage: str
) -> None:
    kill, config = STAGES[stage]
    with supervisor(tmp_path) as first, ThreadPoolExecutor(1) as pool:
        url = str(first.deploy(packages / "v1.hyperion").url)
        load = Load(url, INFER, infer_body()).start(2, 2)
        rollout = pool.submit(first.deploy, packages / "v2.hyperion", **config)
        kill(first, load)
        rollout.exception(20)  # its end is of no matter: the client may have heard of the promotion, or not
        with supervisor(tmp_path) as second:
            eventually(second.worker_pids)
            promoted = stage == "bake"
            survivor = "2" if promoted else "1"
            assert shop(second) == (int(survivor), int(survivor))
            eventually(
                lambda: (
                    {w.revision for w in second.status().deployments[0].workers if w.state == "accepting"}
                    == {int(survivor)}
                )
            )
            served = len(load.answers)
            eventually(lambda: len(load.answers) > served + 30)
            assert {revision for _, revision in load.answers[-10:]} == {survivor}
            load.stop()
            assert load.failures == []
            assert (EventKind.ROLLOUT_ABORTED in kinds(tmp_path)) is not promoted
            notes = " ".join(second.status().deployments[0].notes)
            assert ("revision 2 was reverted, not finished" in notes) is not promoted
            assert ("a canary with 30% of the requests" in notes) is (stage == "canary")
            rollout_now = second.status().deployments[0].rollout
            assert (rollout_now is not None and rollout_now.state is RolloutState.BAKING) is promoted


def test_a_worker_that_a_signal_stopped_is_replaced(packages: Path, tmp_path: Path) -> None:
    with supervisor(tmp_path) as running:
        url = str(running.deploy(packages / "v1.hyperion").url)
        (pid,) = running.worker_pids()
        os.kill(pid, signal.SIGSTOP)
        eventually(lambda: running.worker_pids() not in ([], [pid]), what="the replacement")
        assert call(url + INFER, infer_body())[0] == 200
        exits = [event for event in ledger_events(tmp_path) if event.kind is EventKind.WORKER_EXITED]
        assert "stopped by a signal" in str(exits[0].data["reason"])


@pytest.mark.slow
def test_a_warm_spare_takes_the_place_of_a_killed_worker(packages: Path, tmp_path: Path) -> None:
    with supervisor(tmp_path) as running:
        url = str(running.deploy(packages / "v1.hyperion", warm_spare=True).url)
        (pid,) = running.worker_pids()
        (spare,) = eventually(lambda: all_pids(running) - {pid}, what="the spare")
        eventually(lambda: {w.state for w in running.status().deployments[0].workers} == {"accepting", "gated"})
        load = Load(url, INFER, infer_body()).start(2, 2)
        eventually(lambda: len(load.answers) > 20)

        os.kill(pid, signal.SIGKILL)
        eventually(lambda: running.worker_pids() == [spare], what="the spare in service")
        served = len(load.answers)
        eventually(lambda: len(load.answers) > served + 20)
        load.stop()
        assert len(load.failures) <= 4, load.failures  # at most what its four clients had in flight
        eventually(lambda: len(all_pids(running)) == 2, what="the next spare")


@pytest.mark.slow
def test_sighup_replaces_every_worker_and_loses_no_request(packages: Path, tmp_path: Path) -> None:
    with supervisor(tmp_path) as running:
        url = str(running.deploy(packages / "v1.hyperion", workers=2).url)
        before = set(running.worker_pids())
        load = Load(url, INFER, infer_body()).start(3, 3)
        running.process.send_signal(signal.SIGHUP)
        eventually(
            lambda: len(running.worker_pids()) == 2 and not before & all_pids(running), timeout_s=40, what="the restart"
        )
        served = len(load.answers)
        eventually(lambda: len(load.answers) > served + 50)
        load.stop()
        assert load.failures == []
        assert load.revisions() == {"1"}
        assert kinds(tmp_path).count(EventKind.WORKERS_RENEWED) == 1
        assert EventKind.WORKER_EXITED not in kinds(tmp_path), "a restart is no crash"


@pytest.mark.slow
def test_a_supervisor_in_a_terminal_ends_with_it(tmp_path: Path) -> None:
    ours, theirs = os.openpty()
    try:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "hyperion", "serve", "--foreground"],
            env=os.environ | {"HYPERION_HOME": str(tmp_path)}, stdin=theirs, start_new_session=True,
        )  # fmt: skip
        eventually(SupervisorClient(tmp_path).ping)
        process.send_signal(signal.SIGHUP)
        assert process.wait(20) == 0
    finally:
        os.close(ours)
        os.close(theirs)
