"""Rollouts with real processes, sockets and engine: what is promoted, what is aborted, and that nothing is lost."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.ports import free_port
from tests.serving_kit import (
    Foreground,
    Load,
    address_of,
    call,
    eventually,
    infer_body,
    ledger_events,
    read_answer,
    supervisor,
)

from hyperion.domain.command import Deployed
from hyperion.domain.deployment import Origin
from hyperion.domain.event import EventKind
from hyperion.errors import ConfigError, ConflictError, HostError, NotFoundError

INFER = "/v2/models/shop/infer"


def candidate_pid(running: Foreground) -> int | None:
    """The worker of revision 2 while it is not ready."""
    workers = running.status().deployments[0].workers
    return next((worker.pid for worker in workers if worker.revision == 2 and worker.state == "spawned"), None)


def still_serves_v1(running: Foreground, url: str) -> None:
    status, answer, _ = call(url + INFER, infer_body())
    assert (status, answer["parameters"]) == (200, {"revision": 1})
    found = running.status().deployments[0]
    assert (found.deployment.desired_revision, found.deployment.active_revision) == (1, 1)
    assert found.serving
    eventually(lambda: len(running.status().deployments[0].workers) == 1, what="the candidate's end")


@pytest.mark.parametrize("workers", [1, 2])
def test_swaps_under_load_lose_no_request(packages: Path, tmp_path: Path, workers: int) -> None:
    with supervisor(tmp_path) as running:
        first = running.deploy(packages / "v1.hyperion", workers=workers)
        assert first.promoted
        load = Load(str(first.url), INFER, infer_body()).start()
        for package in ("v2", "v1", "v2"):
            swapped = running.deploy(packages / f"{package}.hyperion", workers=workers)
            assert swapped.promoted
            assert swapped.url == first.url
            served = len(load.answers)
            eventually(lambda served=served: len(load.answers) > served + 20)
        load.stop()
        assert load.failures == []
        assert load.revisions() == {"1", "2", "3", "4"}
        assert call(str(first.url) + INFER, infer_body())[1]["model_version"] == "1.1.0"
        assert len(running.worker_pids()) == workers


def test_keep_alive_clients_of_the_old_revision_are_told_to_come_again(packages: Path, tmp_path: Path) -> None:
    with supervisor(tmp_path) as running:
        url = str(running.deploy(packages / "v1.hyperion").url)
        load = Load(url, INFER, infer_body()).start(keep_alive=3, one_shot=0)
        eventually(lambda: len(load.answers) > 20)
        assert running.deploy(packages / "v2.hyperion", drain_timeout_s=20.0).duration_ms < 15_000
        served = len(load.answers)
        eventually(lambda: len(load.answers) > served + 20)
        load.stop()
        assert load.failures == []
        assert {revision for _, revision in load.answers[served + 3 :]} == {"2"}


def test_connections_that_were_accepted_and_not_yet_read_get_their_answer(packages: Path, tmp_path: Path) -> None:
    request = b"GET /v2/health/ready HTTP/1.1\r\nHost: x\r\n\r\n"
    with supervisor(tmp_path) as running, ThreadPoolExecutor(1) as pool:
        url = str(running.deploy(packages / "v1.hyperion").url)
        silent = [socket.create_connection(address_of(url), 10) for _ in range(20)]
        for connection in silent[:5]:
            connection.sendall(request[:20])  # the rest comes after the swap
        rollout = pool.submit(running.deploy, packages / "v2.hyperion")
        eventually(lambda: running.status().deployments[0].active.number == 2)  # type: ignore[union-attr]
        for number, connection in enumerate(silent):
            with connection, connection.makefile("rb") as stream:
                connection.sendall(request[20:] if number < 5 else request)
                status, headers, _ = read_answer(stream)
                begun_at = "1" if number < 5 else "2"  # what was begun is answered there, all else was handed over
                assert (status, headers["hyperion-revision"]) == (200, begun_at)
        assert rollout.result(30).promoted


def test_pipelined_requests_during_a_swap_are_all_answered(packages: Path, tmp_path: Path) -> None:
    request = b"GET /v2/health/ready HTTP/1.1\r\nHost: x\r\n\r\n"
    with supervisor(tmp_path) as running, ThreadPoolExecutor(1) as pool:
        url = str(running.deploy(packages / "v1.hyperion").url)
        with socket.create_connection(address_of(url), 10) as connection, connection.makefile("rb") as stream:
            connection.sendall(request)
            assert read_answer(stream)[0] == 200
            rollout = pool.submit(running.deploy, packages / "v2.hyperion")
            eventually(lambda: running.status().deployments[0].active.number == 2)  # type: ignore[union-attr]
            connection.sendall(request * 5)
            answers = [read_answer(stream) for _ in range(5)]
        assert [status for status, _, _ in answers] == [200] * 5
        assert answers[-1][1]["hyperion-revision"] == "2"
        assert rollout.result(30).promoted


def test_requests_that_take_long_are_finished_through_a_swap(packages: Path, tmp_path: Path) -> None:
    with supervisor(tmp_path) as running:
        url = str(running.deploy(packages / "slow.hyperion").url)
        load = Load(url, INFER, infer_body(1500)).start(2, 2)
        eventually(lambda: len(load.answers) > 8)
        assert running.deploy(packages / "v1.hyperion").promoted
        eventually(lambda: "2" in load.revisions(), what="an answer of the new revision")
        load.stop()
        assert load.failures == []
        assert load.revisions() == {"1", "2"}


def test_idle_connections_go_over_to_the_new_revision(packages: Path, tmp_path: Path) -> None:
    request = b"GET /v2 HTTP/1.1\r\nHost: x\r\n\r\n"
    with supervisor(tmp_path) as running:
        url = str(running.deploy(packages / "v1.hyperion", drain_timeout_s=0.5).url)
        with socket.create_connection(address_of(url), 10) as idle, idle.makefile("rb") as stream:
            idle.sendall(request)
            assert read_answer(stream)[1]["hyperion-revision"] == "1"
            assert running.deploy(packages / "v2.hyperion").promoted
            idle.sendall(request)
            assert read_answer(stream)[1]["hyperion-revision"] == "2"


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def hang(pid: int) -> None:
    os.kill(pid, signal.SIGSTOP)


@pytest.mark.parametrize(("fault", "words"), [(kill, "was killed by SIGKILL"), (hang, "startup_timeout_s")])
def test_a_candidate_that_dies_or_hangs_is_aborted(
    packages: Path, tmp_path: Path, fault: Callable[[int], None], words: str
) -> None:
    with supervisor(tmp_path) as running, ThreadPoolExecutor(1) as pool:
        url = str(running.deploy(packages / "v1.hyperion").url)
        load = Load(url, INFER, infer_body()).start(2, 2)
        rollout = pool.submit(running.deploy, packages / "v2.hyperion", startup_timeout_s=4.0)
        fault(eventually(lambda: candidate_pid(running)))
        aborted = rollout.result(30)
        assert not aborted.promoted
        assert words in str(aborted.reason)
        assert "r2-w0" in str(aborted.reason)
        still_serves_v1(running, url)
        load.stop()
        assert (load.failures, load.revisions()) == ([], {"1"})
        assert EventKind.ROLLOUT_ABORTED in {event.kind for event in ledger_events(tmp_path)}


@pytest.mark.parametrize(("package", "words"), [("nan", "found nan"), ("wrong", "expected")])
def test_a_candidate_that_answers_wrongly_is_aborted(packages: Path, tmp_path: Path, package: str, words: str) -> None:
    with supervisor(tmp_path) as running:
        url = str(running.deploy(packages / "v1.hyperion").url)
        aborted = running.deploy(packages / f"{package}.hyperion")
        assert not aborted.promoted
        assert "golden request 'sample' gives other outputs" in str(aborted.reason)
        assert words in str(aborted.reason)
        assert any(finding.outcome == "failed" for finding in aborted.proof)
        still_serves_v1(running, url)
        assert running.deploy(packages / "v2.hyperion").promoted


def test_a_candidate_over_its_memory_budget_is_aborted_but_a_rollback_is_not(packages: Path, tmp_path: Path) -> None:
    with supervisor(tmp_path) as running:
        url = str(running.deploy(packages / "v1.hyperion").url)
        aborted = running.deploy(packages / "v2.hyperion", memory={"budget_mb": 10})
        assert not aborted.promoted
        assert "memory.budget_mb = 10" in str(aborted.reason)
        still_serves_v1(running, url)
        rescue = running.deploy(packages / "v2.hyperion", memory={"budget_mb": 10}, origin=Origin.ROLLBACK)
        assert rescue.promoted


def test_the_first_deployment_that_fails_leaves_nothing_behind(packages: Path, tmp_path: Path) -> None:
    with supervisor(tmp_path) as running:
        aborted = running.deploy(packages / "nan.hyperion")
        assert (aborted.promoted, aborted.url) == (False, None)
        found = running.status().deployments[0]
        assert (found.deployment.desired_revision, found.deployment.active_revision) == (None, None)
        eventually(lambda: running.status().deployments[0].workers == ())
        assert running.deploy(packages / "v1.hyperion").promoted


def test_a_package_without_golden_requests_is_warmed_with_a_generated_input(packages: Path, tmp_path: Path) -> None:
    with supervisor(tmp_path) as running:
        deployed = running.deploy(packages / "plain.hyperion")
        assert deployed.promoted
        assert ("model.outputs", "passed") in {(finding.check, finding.outcome) for finding in deployed.proof}


def test_of_two_deploys_at_once_one_is_refused(packages: Path, tmp_path: Path) -> None:
    def attempt(package: str) -> Deployed | ConflictError:
        try:
            return running.deploy(packages / f"{package}.hyperion")
        except ConflictError as error:
            return error

    with supervisor(tmp_path) as running, ThreadPoolExecutor(2) as pool:
        found = list(pool.map(attempt, ("v1", "v2")))
        refused = [answer for answer in found if isinstance(answer, ConflictError)]
        assert [error.code for error in refused] == ["rollout.in_progress"]
        assert [answer.promoted for answer in found if isinstance(answer, Deployed)] == [True]
        assert running.deploy(packages / "v2.hyperion").promoted


def test_a_port_in_use_is_named_and_the_old_revision_keeps_serving(packages: Path, tmp_path: Path) -> None:
    with supervisor(tmp_path) as running, socket.create_server(("127.0.0.1", 0)) as holder:
        url = str(running.deploy(packages / "v1.hyperion").url)
        port = holder.getsockname()[1]
        with pytest.raises(HostError, match=str(port)) as caught:
            running.deploy(packages / "v2.hyperion", serve={"port": port})
        assert caught.value.code == "host.port_in_use"
        still_serves_v1(running, url)
        own = int(url.rpartition(":")[2])
        with pytest.raises(HostError, match="the deployment 'shop'"):
            running.deploy(packages / "v2.hyperion", name="other", serve={"port": own})


def test_a_revision_may_move_to_another_port(packages: Path, tmp_path: Path) -> None:
    port = free_port()
    with supervisor(tmp_path) as running:
        old = str(running.deploy(packages / "v1.hyperion").url)
        moved = running.deploy(packages / "v2.hyperion", serve={"port": port})
        assert moved.url == f"http://127.0.0.1:{port}"
        assert call(str(moved.url) + INFER, infer_body())[0] == 200
        with pytest.raises(OSError, match="refused"):
            call(old + INFER, infer_body())


def test_a_package_that_changed_after_its_checks_is_refused(packages: Path, tmp_path: Path) -> None:
    with supervisor(tmp_path) as running:
        swapped = tmp_path / "swapped.hyperion"
        swapped.write_bytes((packages / "v1.hyperion").read_bytes())
        digest = running.deploy(swapped).revision.digest
        swapped.write_bytes((packages / "v2.hyperion").read_bytes())
        with pytest.raises(ConflictError) as caught:
            running.deploy(swapped, expected_digest=digest)
        assert caught.value.code == "package.changed"


def test_refusals_keep_their_class_code_and_problems(packages: Path, tmp_path: Path) -> None:
    with supervisor(tmp_path) as running:
        with pytest.raises(ConfigError) as caught:
            running.deploy(packages / "v1.hyperion", serve={"host": "0.0.0.0", "port": 0})  # noqa: S104
        assert caught.value.problems[0].path == "serve.host"
        for ask in (lambda: running.stop("nobody"), lambda: running.figures("nobody")):
            with pytest.raises(NotFoundError):
                ask()


def test_deployments_stop_one_by_one_and_the_supervisor_with_the_last(packages: Path, tmp_path: Path) -> None:
    with supervisor(tmp_path) as running:
        running.deploy(packages / "v1.hyperion", name="a")
        url = str(running.deploy(packages / "v2.hyperion", name="b").url)
        first = running.stop("a")
        assert (first.names, first.supervisor_ends) == (("a",), False)
        assert call(url + "/v2/models/b/infer", infer_body())[0] == 200
        last = running.stop()
        assert (last.names, last.supervisor_ends) == (("b",), True)
        assert running.process.wait(60) == 0
        kinds = [event.kind for event in ledger_events(tmp_path)]
        assert kinds.count(EventKind.DEPLOYMENT_STOPPED) == 2
        assert kinds[-1] is EventKind.SUPERVISOR_STOPPED
