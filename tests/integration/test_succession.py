"""SIGUSR2: a fresh supervisor in the same process, while every request is answered and every worker stays."""

from __future__ import annotations

import os
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from tests.integration.test_service_manager import started_as_service
from tests.serving_kit import Foreground, Load, call, eventually, infer_body, ledger_events, supervisor

from hyperion.adapters.files.file_lock import VARIABLE, SupervisorLock
from hyperion.adapters.service.control_client import SupervisorClient
from hyperion.domain.command import Stop
from hyperion.domain.event import EventKind
from hyperion.errors import ConflictError

INFER = "/v2/models/shop/infer"


def starts(state: Path) -> list[object]:
    """The pid of each supervisor that started."""
    return [event.data["pid"] for event in ledger_events(state) if event.kind is EventKind.SUPERVISOR_STARTED]


def replaced(running: Foreground) -> None:
    """Have it give way, and wait for the one that comes."""
    before = len(starts(running.state))
    running.process.send_signal(signal.SIGUSR2)
    eventually(lambda: len(starts(running.state)) == before + 1 and running.client.ping(), what="the successor")


def test_a_supervisor_gives_way_under_load_and_no_request_fails(packages: Path, tmp_path: Path) -> None:
    with supervisor(tmp_path) as running:
        url = str(running.deploy(packages / "v1.hyperion", workers=2).url)
        before = sorted(running.worker_pids())
        load = Load(url, INFER, infer_body()).start()
        eventually(lambda: len(load.answers) > 50)

        replaced(running)

        assert starts(tmp_path) == [running.process.pid] * 2
        eventually(lambda: sorted(running.worker_pids()) == before, what="the adoption")
        served = len(load.answers)
        eventually(lambda: len(load.answers) > served + 50)
        assert running.deploy(packages / "v2.hyperion", workers=2, keep_warm_s=0).promoted
        eventually(lambda: load.revisions() == {"1", "2"})
        load.stop()
        assert load.failures == []
        eventually(lambda: not any(map(psutil.pid_exists, before)), what="the end of the adopted workers, reaped")
    assert EventKind.SUPERVISOR_STOPPED in {event.kind for event in ledger_events(tmp_path)[-1:]}


@pytest.mark.slow
def test_a_rollout_that_is_under_way_is_waited_for(packages: Path, tmp_path: Path) -> None:
    with supervisor(tmp_path) as running, ThreadPoolExecutor(1) as pool:
        running.deploy(packages / "v1.hyperion")
        rollout = pool.submit(running.deploy, packages / "v2.hyperion")
        eventually(lambda: any(worker.revision == 2 for worker in running.status().deployments[0].workers))

        running.process.send_signal(signal.SIGUSR2)

        assert rollout.result(30).promoted
        eventually(lambda: len(starts(tmp_path)) == 2 and running.client.ping(), what="the successor")
        assert running.status().deployments[0].deployment.active_revision == 2
        assert EventKind.ROLLOUT_ABORTED not in {event.kind for event in ledger_events(tmp_path)}


@pytest.mark.slow
def test_a_restart_of_the_workers_that_is_under_way_is_waited_for(packages: Path, tmp_path: Path) -> None:
    with supervisor(tmp_path) as running:
        running.deploy(packages / "v1.hyperion", workers=2)
        before = set(running.worker_pids())

        running.process.send_signal(signal.SIGHUP)
        running.process.send_signal(signal.SIGUSR2)

        eventually(lambda: len(starts(tmp_path)) == 2 and running.client.ping(), what="the successor")
        after = set(eventually(running.worker_pids, what="the adoption"))
        assert (len(after), before & after) == (2, set())


@pytest.mark.slow
def test_how_a_worker_died_is_known_to_the_successor(packages: Path, tmp_path: Path) -> None:
    with supervisor(tmp_path) as running:
        url = str(running.deploy(packages / "v1.hyperion").url)
        replaced(running)
        (pid,) = eventually(running.worker_pids)
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: running.worker_pids() not in ([], [pid]), what="its replacement")
        assert call(url + INFER, infer_body())[0] == 200
        reasons = [str(e.data["reason"]) for e in ledger_events(tmp_path) if e.kind is EventKind.WORKER_EXITED]
        assert ["SIGKILL" in reason for reason in reasons] == [True]


@pytest.mark.slow
def test_systemd_hears_of_it_and_its_socket_goes_along(packages: Path, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as inbox, socket.create_server(("127.0.0.1", 0)) as listener:
        inbox.bind(str(tmp_path / "notify"))
        inbox.settimeout(20)
        process = started_as_service(tmp_path / "state", inbox, listener)
        client = SupervisorClient(tmp_path / "state")
        try:
            assert inbox.recv(4096) == b"READY=1"
            running = Foreground(tmp_path / "state", process, client)
            process.send_signal(signal.SIGUSR2)
            heard = []
            while b"READY=1" not in heard:
                heard.append(inbox.recv(4096))
            assert heard[-2].startswith(b"RELOADING=1\nMONOTONIC_USEC=")
            port = listener.getsockname()[1]
            eventually(client.ping, what="the successor")
            deployed = running.deploy(packages / "v1.hyperion", serve={"port": port})
            assert call(str(deployed.url) + INFER, infer_body())[0] == 200  # the port was never free to bind
            client.ask(Stop(name=None, actor="tests"))
        finally:
            process.terminate()
            process.wait(30)


def test_the_lock_is_kept_over_exec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run" / "supervisor.lock"
    held = SupervisorLock(path)
    with held:
        (descriptor,) = held.hand_over().values()
        assert os.get_inheritable(int(descriptor))
        monkeypatch.setenv(VARIABLE, descriptor)
        successor = SupervisorLock(path)
        successor.__enter__()  # as after exec: the same descriptor, in a program that knows its number alone
        assert VARIABLE not in os.environ
        with pytest.raises(ConflictError):
            SupervisorLock(path).__enter__()


def test_a_number_that_is_no_lock_of_ours_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run" / "supervisor.lock"
    with SupervisorLock(path), (tmp_path / "other").open("w") as other:
        monkeypatch.setenv(VARIABLE, str(other.fileno()))
        with pytest.raises(ConflictError):
            SupervisorLock(path).__enter__()
