"""Confinement, in real children: what a confined process can no longer do, and what it still can."""

from __future__ import annotations

import json
import os
import resource
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from hyperion.adapters.sandbox import confinement

needs_kernel = pytest.mark.skipif(
    bool(confinement.available().missing), reason=f"this kernel: {confinement.available()}"
)

CHILD = """
import ctypes, json, os, signal, socket, subprocess, sys, threading
from pathlib import Path
from hyperion.adapters.sandbox.confinement import ResourceLimits, confine

plan = json.loads(sys.argv[1])
if plan.get("thread_before"):
    threading.Thread(target=threading.Event().wait, daemon=True).start()
inherited = socket.socket(fileno=plan["listener"]) if "listener" in plan else None
found = confine(
    [Path(p) for p in plan["readable"]], [Path(p) for p in plan["writable"]],
    network=plan.get("network", False), processes=plan.get("processes", False),
    limits=ResourceLimits(**plan.get("limits", {})),
)
allowed = Path(plan["readable"][0])
writable = Path(plan["writable"][0])
outside = Path(plan["outside"])

def connect():
    with socket.create_connection(("127.0.0.1", plan["port"]), 5):
        pass

def accept():
    other, _ = inherited.accept()
    with other:
        other.sendall(b"served")

def datagrams():
    for end in socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM):
        end.close()

def pair():
    for end in socket.socketpair():
        end.close()

def thread():
    ran = []
    worker = threading.Thread(target=ran.append, args=(1,))
    worker.start()
    worker.join()
    assert ran

def system_call(number, *arguments):
    def call():
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.syscall(number, *arguments) < 0:
            raise OSError(ctypes.get_errno(), "")
    return call

ATTEMPTS = {
    "read what is allowed": lambda: (allowed / "file").read_text(),
    "list what is allowed": lambda: list(allowed.iterdir()),
    "write what may only be read": lambda: (allowed / "new").write_text("x"),
    "write": lambda: (writable / "new").write_text("x"),
    "rename": lambda: (writable / "new").rename(writable / "renamed"),
    "read outside": lambda: (outside / "secret").read_text(),
    "list outside": lambda: list(outside.iterdir()),
    "write outside": lambda: (outside / "new").write_text("x"),
    "overwrite outside": lambda: (outside / "secret").write_text("x"),
    "remove outside": lambda: (outside / "secret").unlink(),
    "truncate outside": lambda: os.truncate(outside / "secret", 0),
    "change rights outside": lambda: (outside / "secret").chmod(0o777),
    "change the owner outside": lambda: os.chown(outside / "secret", os.getuid(), os.getgid()),
    "change times outside": lambda: os.utime(outside / "secret", (0, 0)),
    "link in": lambda: os.link(outside / "secret", writable / "hard"),
    "read through a link": lambda: (allowed / "link").read_text(),
    "read another's environment": lambda: Path(f"/proc/{os.getppid()}/environ").read_bytes(),
    "connect": connect,
    "make a socket": lambda: socket.socket().close(),
    "make a socket with a path": lambda: socket.socket(socket.AF_UNIX).close(),
    "make a raw socket": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW).close(),
    "pair of datagram sockets": datagrams,
    "pair of sockets": pair,
    "fork": lambda: os.fork() or os._exit(0),
    "execute": lambda: os.execv(sys.executable, [sys.executable, "-c", "pass"]),
    "run a program": lambda: subprocess.run([sys.executable, "-S", "-c", "pass"], check=True),
    "signal the parent": lambda: os.kill(os.getppid(), 0),
    "signal itself": lambda: os.kill(os.getpid(), 0),
    "start a thread": thread,
    "trace": lambda: system_call(101 if os.uname().machine == "x86_64" else 117, 0, 0, 0, 0)(),
    "bpf": lambda: system_call(321 if os.uname().machine == "x86_64" else 280, 0, 0, 0)(),
    "io_uring": system_call(425, 1, 0),
    "new namespace": lambda: system_call(272 if os.uname().machine == "x86_64" else 97, 0x10000000)(),
    "import what was not imported": lambda: __import__("xml.dom.minidom"),
    "read its own memory figures": lambda: Path("/proc/self/status").read_text(),
    "accept": accept,
    "write much": lambda: (writable / "much").write_bytes(bytes(1 << 20)),
    "take much memory": lambda: bytearray(1 << 32),
    "discard": lambda: Path(os.devnull).write_text("x"),
}
results = {}
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
for name in plan["attempts"]:
    try:
        ATTEMPTS[name]()
        results[name] = "done"
    except OSError as error:
        results[name] = "refused" if error.errno in (1, 13, 22, 27) else repr(error)
    except MemoryError:
        results[name] = "refused"
print(json.dumps({"results": results, "confinement": found.model_dump()}))
sys.stdout.flush()
os._exit(0)
"""


@pytest.fixture
def room(tmp_path: Path) -> dict[str, Path]:
    """Folders to read, to write, and outside of both, each with something in it."""
    places = {name: tmp_path / name for name in ("readable", "writable", "outside")}
    for place in places.values():
        place.mkdir()
    (places["readable"] / "file").write_text("allowed")
    (places["outside"] / "secret").write_text("secret")
    (places["readable"] / "link").symlink_to(places["outside"] / "secret")
    return places


def attempt(room: dict[str, Path], attempts: list[str], *, fds: tuple[int, ...] = (), **plan: Any) -> dict[str, Any]:
    """What a confined child could do of ``attempts``."""
    whole = {
        "readable": [str(room["readable"])], "writable": [str(room["writable"])], "outside": str(room["outside"]),
        "attempts": attempts, **plan,
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-P", "-c", CHILD, json.dumps(whole)], capture_output=True, text=True, timeout=60,
        pass_fds=fds, check=False, env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def refused(*attempts: str) -> dict[str, str]:
    return dict.fromkeys(attempts, "refused")


def done(*attempts: str) -> dict[str, str]:
    return dict.fromkeys(attempts, "done")


@needs_kernel
def test_a_confined_process_touches_only_its_own_files(room: dict[str, Path]) -> None:
    expected = {
        **done("read what is allowed", "list what is allowed", "write", "rename", "discard"),
        **refused(
            "write what may only be read", "read outside", "list outside", "write outside", "overwrite outside",
            "truncate outside", "change rights outside", "change the owner outside", "change times outside",
            "read through a link", "read another's environment", "remove outside",
        ),
    }  # fmt: skip

    found = attempt(room, list(expected))

    assert found["results"] == expected
    assert (room["outside"] / "secret").read_text() == "secret"


@needs_kernel
def test_a_confined_process_cannot_link_a_file_from_outside_into_its_own_folder(room: dict[str, Path]) -> None:
    found = attempt(room, ["link in"])

    assert found["results"]["link in"] != "done"
    assert not (room["writable"] / "hard").exists()


@needs_kernel
def test_a_confined_process_reaches_no_other(room: dict[str, Path]) -> None:
    expected = {
        **refused(
            "connect", "make a socket", "make a socket with a path", "make a raw socket", "pair of datagram sockets",
            "fork", "run a program", "execute", "signal the parent", "trace", "bpf", "io_uring", "new namespace",
        ),
        **done("pair of sockets", "signal itself", "start a thread"),
    }  # fmt: skip
    with socket.create_server(("127.0.0.1", 0)) as server:
        found = attempt(room, list(expected), port=server.getsockname()[1])

    assert found["results"] == expected


@needs_kernel
def test_python_goes_on_as_before(room: dict[str, Path]) -> None:
    expected = done("import what was not imported", "read its own memory figures")

    assert attempt(room, list(expected))["results"] == expected


@needs_kernel
def test_an_inherited_listening_socket_still_accepts(room: dict[str, Path]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname(), 30)
        with client:
            found = attempt(room, ["accept"], fds=(server.fileno(),), listener=server.fileno())
            answer = client.recv(100)

    assert found["results"] == done("accept")
    assert answer == b"served"


@needs_kernel
def test_network_and_programs_are_there_where_they_are_asked_for(room: dict[str, Path]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        found = attempt(room, ["connect", "run a program", "read outside"], port=port, network=True, processes=True)

    assert found["results"] == {**done("connect", "run a program"), **refused("read outside")}


def test_limits_hold_and_nothing_raises_them_again(room: dict[str, Path]) -> None:
    limits = {"address_space_bytes": 1 << 31, "cpu_s": 60, "file_bytes": 1 << 16}

    found = attempt(room, ["write much", "take much memory"], limits=limits)

    assert found["results"] == refused("write much", "take much memory")


def test_what_is_in_force_is_told(room: dict[str, Path]) -> None:
    found = attempt(room, [])["confinement"]["protections"]

    said = {protection["name"]: protection["in_force"] for protection in found}
    possible = {protection.name: protection.in_force for protection in confinement.available().protections}
    assert said == possible


@needs_kernel
def test_threads_that_were_there_before_are_told_of(room: dict[str, Path]) -> None:
    found = attempt(room, [], thread_before=True)["confinement"]["protections"]

    files = next(protection for protection in found if protection["name"] == "file_access")
    assert files["in_force"] is False
    assert "1 thread" in files["detail"]


def test_asking_what_is_available_confines_nothing() -> None:
    before = resource.getrlimit(resource.RLIMIT_CORE)

    confinement.available()

    with tempfile.TemporaryFile() as file:
        file.write(b"x")
    with socket.create_server(("127.0.0.1", 0)):
        pass
    assert resource.getrlimit(resource.RLIMIT_CORE) == before
