"""What survives: workers that are killed, supervisors that die or end, and starts that race."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from tests.ports import free_port
from tests.serving_kit import Load, call, deploy_command, eventually, infer_body, ledger_events, supervisor

from hyperion.adapters.files.file_lock import SupervisorLock
from hyperion.adapters.service.control_client import LONGEST_PATH, SupervisorClient, control_path
from hyperion.domain.command import Stop
from hyperion.domain.event import EventKind
from hyperion.errors import ConflictError, HostError

INFER = "/v2/models/shop/infer"


def test_a_killed_worker_is_replaced_and_refuses_nobody(packages: Path, tmp_path: Path) -> None:
    with supervisor(tmp_path) as running:
        url = str(running.deploy(packages / "v1.hyperion").url)
        load = Load(url, INFER, infer_body()).start(4, 4)
        eventually(lambda: len(load.answers) > 50)
        (pid,) = running.worker_pids()
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: running.worker_pids() not in ([], [pid]), what="the replacement")
        served = len(load.answers)
        eventually(lambda: len(load.answers) > served + 50)
        load.stop()
        assert len(load.failures) <= 8, load.failures  # at most what its eight clients had in flight
        assert not [failure for failure in load.failures if "refused" in failure]
        assert running.figures().requests >= len(load.answers), "counters went back"
        kinds = [event.kind for event in ledger_events(tmp_path)]
        assert kinds.count(EventKind.WORKER_EXITED) == 1
        assert kinds.count(EventKind.WORKER_READY) == 1


def test_a_crash_loop_stops_and_says_so(packages: Path, tmp_path: Path) -> None:
    with supervisor(tmp_path) as running:
        running.deploy(packages / "v1.hyperion")

        def given_up() -> str | None:
            found = running.status().deployments[0]
            for worker in found.workers:
                os.kill(worker.pid, signal.SIGKILL)
            return found.trouble if "gave up" in str(found.trouble) or "given up" in str(found.trouble) else None

        trouble = eventually(given_up, timeout_s=60)
        assert "was killed by SIGKILL" in trouble
        status = running.status().deployments[0]
        assert (status.serving, status.workers) == (False, ())
        assert EventKind.WORKERS_GAVE_UP in {event.kind for event in ledger_events(tmp_path)}
        assert running.deploy(packages / "v2.hyperion").promoted
        assert running.status().deployments[0].trouble is None


def test_sigterm_drains_and_the_next_supervisor_serves_again(packages: Path, tmp_path: Path) -> None:
    port = free_port()
    with supervisor(tmp_path) as running:
        url = str(running.deploy(packages / "v1.hyperion", serve={"port": port}, workers=2).url)
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(60) == 0
        with pytest.raises(OSError, match="refused"):
            call(url + INFER, infer_body())
    with supervisor(tmp_path) as running:
        eventually(lambda: len(running.worker_pids()) == 2)
        status, answer, _ = call(url + INFER, infer_body())
        assert (status, answer["parameters"]) == (200, {"revision": 1})
        assert not running.status().deployments[0].updating


def test_a_rollout_goes_on_when_the_client_that_asked_for_it_goes_away(packages: Path, tmp_path: Path) -> None:
    command = deploy_command(packages / "v1.hyperion")
    request = {"protocol": 1, "command": command.model_dump(mode="json", by_alias=True)}
    with supervisor(tmp_path) as running:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(control_path(tmp_path)))
            connection.sendall(json.dumps(request).encode() + b"\n")
            connection.recv(1)
        eventually(lambda: [d.deployment.active_revision for d in running.status().deployments] == [1])
        assert running.worker_pids()


def test_serve_without_foreground_starts_one_in_the_background(tmp_path: Path) -> None:
    def serve() -> int:
        found = subprocess.run(
            [sys.executable, "-m", "hyperion", "serve", "--json"],
            env=os.environ | {"HYPERION_HOME": str(tmp_path)}, capture_output=True, timeout=60, check=True,
        )  # fmt: skip
        return int(json.loads(found.stdout)["supervisor"]["pid"])

    pid = serve()
    assert serve() == pid
    SupervisorClient(tmp_path).ask(Stop(name=None, actor="tests"))
    eventually(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)


def test_a_supervisor_that_cannot_start_is_reported_with_the_end_of_its_log(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_bytes(b"this is no database" * 100)
    with pytest.raises(HostError, match="ledger") as caught:
        SupervisorClient(tmp_path).ensure_running()
    assert caught.value.code == "supervisor.not_started"


def test_one_supervisor_per_state_folder(tmp_path: Path) -> None:
    with supervisor(tmp_path) as running:
        second = subprocess.run(
            [sys.executable, "-m", "hyperion", "serve", "--foreground"],
            env=os.environ | {"HYPERION_HOME": str(tmp_path)}, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert second.returncode == 6
        assert str(running.process.pid) in second.stderr


def test_two_starts_at_once_give_one_detached_supervisor_that_ends_with_its_last_deployment(tmp_path: Path) -> None:
    clients = [SupervisorClient(tmp_path) for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        pids = {pong.pid for pong in pool.map(lambda client: client.ensure_running(), clients)}
    assert len(pids) == 1
    process = psutil.Process(pids.pop())
    try:
        assert os.getsid(process.pid) == process.pid
        open_files = {str(Path(f"/proc/{process.pid}/fd/{number}").readlink()) for number in (0, 1, 2)}
        assert open_files == {"/dev/null", str(tmp_path / "logs" / "supervisor.log")}
        assert clients[0].ask(Stop(name=None, actor="tests")).supervisor_ends  # type: ignore[union-attr]
        eventually(lambda: clients[0].ping() is None)
        process.wait(60)
    except BaseException:
        process.kill()
        raise


def test_without_a_supervisor_a_command_says_so(tmp_path: Path) -> None:
    client = SupervisorClient(tmp_path)
    assert client.ping() is None
    with pytest.raises(HostError) as caught:
        client.ask(Stop(name=None, actor="tests"))
    assert caught.value.code == "supervisor.not_running"


def test_a_state_folder_with_a_long_path_gets_a_short_private_socket(tmp_path: Path) -> None:
    state = tmp_path / ("long" * 30)
    path = control_path(state)
    assert len(os.fsencode(path)) <= LONGEST_PATH
    with supervisor(state) as running:
        assert running.client.ping() is not None
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.parent.stat().st_mode & 0o777 == 0o700
    path.parent.rmdir()


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"nonsense", "control.malformed"),
        (b"[]", "control.malformed"),
        (b'{"protocol": 1, "command": {"kind": "dance"}}', "control.malformed"),
        (b'{"protocol": 99, "command": {"kind": "ping"}}', "control.protocol"),
    ],
)
def test_words_that_the_supervisor_does_not_understand_are_refused(tmp_path: Path, line: bytes, code: str) -> None:
    with supervisor(tmp_path) as running, socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(control_path(tmp_path)))
        with connection.makefile("rb") as stream:
            for words in (line, b'{"protocol": 1, "command": {"kind": "ping"}}'):
                connection.sendall(words + b"\n")
            assert json.loads(stream.readline())["details"]["code"] == code
            assert json.loads(stream.readline())["pid"] == running.process.pid


def test_the_lock_names_its_holder_and_is_free_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "run" / "supervisor.lock"
    with SupervisorLock(path), pytest.raises(ConflictError, match=f"pid {os.getpid()}"):
        SupervisorLock(path).__enter__()
    with SupervisorLock(path):
        pass
