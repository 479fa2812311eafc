"""What systemd sees and gives: notifications, listening sockets, the watchdog, and units that it understands."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.serving_kit import call, deploy_command, end_orphans, eventually, infer_body

from hyperion.adapters.service.control_client import SupervisorClient
from hyperion.adapters.service.service_manager import SystemdManager
from hyperion.bootstrap import open_unit_check
from hyperion.domain.command import Deployed, Stop
from hyperion.domain.service_unit import SERVICE_FILE, Scope


@pytest.fixture
def inbox(tmp_path: Path) -> Iterator[socket.socket]:
    """Where systemd would listen."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as found:
        found.bind(str(tmp_path / "notify"))
        found.settimeout(20)
        yield found


def started_as_service(
    state: Path, inbox: socket.socket, listener: socket.socket, **more: str
) -> subprocess.Popen[bytes]:
    """A supervisor as systemd starts one: told where to notify, with the listening socket as descriptor 3."""
    program = (
        "import os, sys; os.dup2(int(sys.argv[1]), 3); os.environ['LISTEN_PID'] = str(os.getpid());"
        "os.execv(sys.executable, [sys.executable, '-P', '-m', 'hyperion', 'serve', '--foreground'])"
    )
    given = {"HYPERION_HOME": str(state), "NOTIFY_SOCKET": inbox.getsockname(), "LISTEN_FDS": "1", **more}
    return subprocess.Popen(
        [sys.executable, "-c", program, str(listener.fileno())],
        env=os.environ | given, pass_fds=(listener.fileno(),), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
    )  # fmt: skip


def test_a_supervisor_under_systemd_tells_how_it_is_and_serves_on_the_socket_that_it_was_given(
    packages: Path, tmp_path: Path, inbox: socket.socket
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        process = started_as_service(tmp_path, inbox, listener, WATCHDOG_USEC="400000")
        try:
            # given
            assert inbox.recv(4096) == b"READY=1"
            client = SupervisorClient(tmp_path)

            # when: a deployment asks for the address that systemd holds
            deployed = client.ask(deploy_command(packages / "v1.hyperion", serve={"port": port}))

            # then
            assert isinstance(deployed, Deployed)
            assert call(f"{deployed.url}/v2/models/shop/infer", infer_body())[0] == 200
            eventually(lambda: inbox.recv(4096) == b"STATUS=1 of 1 deployment in service", what="the status")
            eventually(lambda: inbox.recv(4096) == b"WATCHDOG=1", what="the watchdog's food")

            # when: the deployment stops, the address stays systemd's
            client.ask(Stop(name=None, actor="tests"))
            process.wait(20)
            socket.create_connection(("127.0.0.1", port), 5).close()
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)
    assert b"STOPPING=1" in _rest(inbox)


@pytest.mark.slow
def test_while_nobody_lives_clients_wait_at_the_address_that_systemd_holds(
    packages: Path, tmp_path: Path, inbox: socket.socket
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:
        port = listener.getsockname()[1]
        first = started_as_service(tmp_path, inbox, listener)
        assert inbox.recv(4096) == b"READY=1"
        url = SupervisorClient(tmp_path).ask(deploy_command(packages / "v1.hyperion", serve={"port": port})).url  # type: ignore[union-attr]
        first.kill()
        first.wait()
        end_orphans(tmp_path)

        waiting = pool.submit(call, f"{url}/v2/models/shop/infer", infer_body())
        second = started_as_service(tmp_path, inbox, listener)
        try:
            assert waiting.result(30)[0] == 200
        finally:
            second.send_signal(signal.SIGTERM)
            second.wait(30)


def test_a_deploy_at_a_unix_socket_that_systemd_holds_passes_its_checklist(
    packages: Path, tmp_path: Path, inbox: socket.socket
) -> None:
    path, config = tmp_path / "shop.sock", tmp_path / "deployment.json"
    config.write_text(json.dumps({"name": "shop", "serve": {"socket": str(path)}}))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        process = started_as_service(tmp_path / "state", inbox, listener)
        try:
            assert inbox.recv(4096) == b"READY=1"
            command = ("deploy", "model", "--input", str(packages / "v1.hyperion"), "--config", str(config), "--json")
            deployed = subprocess.run(
                [sys.executable, "-m", "hyperion", *command],
                env=os.environ | {"HYPERION_HOME": str(tmp_path / "state")},
                capture_output=True, text=True, timeout=60, check=False,
            )  # fmt: skip
            assert deployed.returncode == 0, deployed.stdout + deployed.stderr
            assert json.loads(deployed.stdout)["url"] == f"unix:{path}"
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)
    assert path.exists(), "it is systemd's"


def _rest(inbox: socket.socket) -> set[bytes]:
    inbox.setblocking(False)
    found = set()
    while True:
        try:
            found.add(inbox.recv(4096))
        except BlockingIOError:
            return found


def test_what_was_meant_for_another_process_is_not_ours_and_no_child_sees_it() -> None:
    environ = {"LISTEN_PID": "1", "LISTEN_FDS": "3", "WATCHDOG_PID": "1", "WATCHDOG_USEC": "5", "PATH": "/bin"}
    manager = SystemdManager(environ)
    assert (manager.listeners(), manager.watchdog_s) == ((), None)
    assert environ == {"PATH": "/bin"}


def test_without_systemd_nobody_is_told_anything() -> None:
    SystemdManager({}).tell("READY=1")


def test_a_manager_that_is_gone_disturbs_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    SystemdManager({"NOTIFY_SOCKET": str(tmp_path / "gone")}).tell("READY=1")
    assert "could not be told" in caplog.text


def test_an_abstract_address_is_understood() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as found:
        found.bind(f"\0hyperion-test-{os.getpid()}")
        SystemdManager({"NOTIFY_SOCKET": f"@hyperion-test-{os.getpid()}"}).tell("READY=1", "STATUS=fine")
        assert found.recv(100) == b"READY=1\nSTATUS=fine"


# --- hyperion service ---


def hyperion(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hyperion", "service", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_installed_units_are_understood_by_systemd_and_written_once(tmp_path: Path) -> None:
    arguments = ("install", "--output", str(tmp_path), "--account", "daemon", "--listen", "127.0.0.1:8080",
                 "--listen", "/run/shop.sock", "--json")  # fmt: skip
    first, second = hyperion(*arguments), hyperion(*arguments)

    assert (first.returncode, second.returncode) == (0, 0), first.stderr
    answer = json.loads(first.stdout)
    assert answer["check"]["passed"] in (True, None), answer["check"]
    assert answer["changed"] is True
    assert json.loads(second.stdout)["changed"] is False
    assert sorted(path.name for path in tmp_path.glob("hyperion.*")) == ["hyperion.service", "hyperion.socket"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed here")
@pytest.mark.parametrize("scope", Scope)
def test_systemd_finds_fault_with_a_unit_that_has_one(tmp_path: Path, scope: Scope) -> None:
    path = tmp_path / SERVICE_FILE
    path.write_text("[Service]\nExecStart=/bin/true\nTpye=notify\n")
    found = open_unit_check()([path], scope)
    assert found.passed is False
    assert "Tpye" in found.messages[0]


def test_a_unit_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / SERVICE_FILE).write_text("[Service]\nExecStart=/bin/mine\n")
    found = hyperion("install", "--output", str(tmp_path))
    assert found.returncode == 6
    assert "service.foreign_unit" in found.stderr
    assert (tmp_path / SERVICE_FILE).read_text() == "[Service]\nExecStart=/bin/mine\n"


def test_units_are_shown_as_they_would_be_written() -> None:
    shown = hyperion("show", "--user")
    assert shown.returncode == 0
    assert "Type=notify" in shown.stdout
    assert "User=" not in shown.stdout
