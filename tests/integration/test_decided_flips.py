"""A flip is decided before its workers take traffic: whatever dies then, it is gone through with, nothing is lost."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.serving_kit import Foreground, Load, eventually, infer_body, ledger_events, supervisor

from hyperion.adapters.service.control_client import SupervisorClient
from hyperion.domain.command import Deploy, Deployed, DeploymentStatus, Reply
from hyperion.domain.deployment import Origin
from hyperion.domain.event import EventKind

INFER = "/v2/models/shop/infer"
DECISION = [EventKind.REVISION_CREATED, EventKind.ROLLOUT_STARTED, EventKind.ROLLOUT_PROMOTED]


def shop(running: Foreground) -> DeploymentStatus:
    return running.status().deployments[0]


def flip_back(running: Foreground) -> Reply:
    """Ask for what is kept warm."""
    warm = eventually(lambda: shop(running).warm, what="a warm revision").revision
    order = Deploy(
        package_path=None, expected_digest=warm.digest, config=warm.config, origin=Origin.ROLLBACK, reason="a test",
        actor="tester",
    )  # fmt: skip
    return SupervisorClient(running.state).ask(order)


def pid_of(running: Foreground, revision: int) -> int:
    return next(worker.pid for worker in shop(running).workers if worker.revision == revision)


def test_a_flip_is_one_transaction_and_what_nobody_waits_for_comes_after_it(packages: Path, tmp_path: Path) -> None:
    with supervisor(tmp_path) as running:
        for package in ("v1", "v2"):
            running.deploy(packages / f"{package}.hyperion")

        found = flip_back(running)

        assert isinstance(found, Deployed)
        assert (found.revision.number, found.promoted, found.revision.version) == (3, True, "1.0.0")
        assert shop(running).deployment.active_revision == 3
        kinds = [event.kind for event in ledger_events(tmp_path) if event.revision == 3]
        assert kinds[:3] == DECISION
        eventually(lambda: EventKind.ROLLOUT_SHIFTED in {event.kind for event in ledger_events(tmp_path)})


def test_what_a_flip_ends_is_written_once_it_is_through(packages: Path, tmp_path: Path) -> None:
    def watch_is_ended() -> bool:
        return any((e.kind, e.revision) == (EventKind.ROLLOUT_FINISHED, 2) for e in ledger_events(tmp_path))

    with supervisor(tmp_path) as running, ThreadPoolExecutor(1) as pool:
        for package in ("v1", "v2"):
            running.deploy(packages / f"{package}.hyperion", gates={"watch_s": 60})
        eventually(lambda: any(worker.state == "warm" for worker in shop(running).workers), what="a warm worker")
        warm = pid_of(running, 1)
        os.kill(warm, signal.SIGSTOP)  # so that the flip stands still between its decision and its end
        asked = pool.submit(flip_back, running)
        eventually(lambda: shop(running).deployment.active_revision == 3, what="the decision")
        ended_early = watch_is_ended()
        os.kill(warm, signal.SIGCONT)

        assert isinstance(asked.result(20), Deployed)
        assert not ended_early
        eventually(watch_is_ended)


@pytest.mark.parametrize(
    "dies",
    [pytest.param(False, id="its worker lives"), pytest.param(True, id="its worker dies", marks=pytest.mark.slow)],
)
def test_a_flip_that_a_killed_supervisor_left_is_gone_through_with(packages: Path, tmp_path: Path, dies: bool) -> None:
    with supervisor(tmp_path) as first, ThreadPoolExecutor(1) as pool:
        url = str(first.deploy(packages / "v1.hyperion").url)
        first.deploy(packages / "v2.hyperion")
        load = Load(url, INFER, infer_body()).start(2, 2)
        eventually(lambda: any(worker.state == "warm" for worker in shop(first).workers), what="a warm worker")
        warm = pid_of(first, 1)
        os.kill(warm, signal.SIGSTOP)  # so that the supervisor dies between the decision and its acknowledgement
        asked = pool.submit(flip_back, first)
        eventually(lambda: shop(first).deployment.active_revision == 3, what="the decision")
        first.process.kill()
        first.process.wait()
        os.kill(warm, signal.SIGKILL if dies else signal.SIGCONT)
        asked.exception(20)

        with supervisor(tmp_path) as second:
            eventually(lambda: {w.revision for w in shop(second).workers if w.state == "accepting"} == {3})
            served = len(load.answers)
            eventually(lambda: len(load.answers) > served + 30)
            load.stop()
            assert {revision for _, revision in load.answers[-10:]} == {"3"}
            assert load.failures == []
            assert shop(second).deployment.active_revision == 3
            assert (pid_of(second, 3) == warm) is not dies
            assert EventKind.ROLLOUT_ABORTED not in {event.kind for event in ledger_events(tmp_path)}
