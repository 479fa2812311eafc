"""What integration tests of serving share: real packages, a supervisor of one's own, raw HTTP clients."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from hyperion.adapters.service.control_client import SupervisorClient
from hyperion.domain.command import Deploy, Deployed, Progress, Stats, Status, StatusReply, Stop, Stopped, Until
from hyperion.domain.config import DeploymentConfig
from hyperion.domain.deployment import Origin
from hyperion.domain.event import Event
from hyperion.domain.metrics import ServingFigures
from hyperion.errors import HostError
from tests.models import FEATURES, write_model_dir


def eventually(condition: Callable[[], Any], timeout_s: float = 60.0, what: str = "the condition") -> Any:
    """Poll until ``condition()`` is truthy and return that."""
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what} did not come true within {timeout_s} s"
        threading.Event().wait(0.02)
    return found


class QuietReporter:
    """Reports to nobody."""

    @contextmanager
    def stage(self, _title: str, _total: int | None = None, _unit: str = "") -> Iterator[Callable[[int], None]]:
        yield lambda _done: None

    def info(self, message: str) -> None: ...

    def warn(self, message: str) -> None: ...


def make_package(folder: Path, name: str, **model_dir: Any) -> Path:
    """Package a model directory of tests.models (quantize=none) and return the file."""
    from hyperion.adapters.conversion.model_converters import ChildConverters
    from hyperion.adapters.engine.onnxruntime_engine import OnnxRuntimeEngine
    from hyperion.adapters.files.atomic_file import AtomicFiles
    from hyperion.adapters.files.package_files import LocalPackages
    from hyperion.adapters.host.system_clock import SystemClock
    from hyperion.adapters.onnx.graph import OnnxGraphs
    from hyperion.adapters.onnx.model_directory import ModelDirectories
    from hyperion.usecases.package import PackageOptions, package_model

    host: Any = SimpleNamespace(
        files=AtomicFiles(), sources=ModelDirectories(), graphs=OnnxGraphs(), engine=OnnxRuntimeEngine(),
        packages=LocalPackages(), clock=SystemClock(), converters=ChildConverters(),
    )  # fmt: skip
    directory = write_model_dir(folder / f"{name}-dir", **model_dir)
    output = folder / f"{name}.hyperion"
    package_model(host, PackageOptions(input_dir=directory, output=output, quantize="none"), QuietReporter())
    return output


def package_digest(path: Path) -> str:
    from hyperion.adapters.files.package_files import LocalPackages

    with LocalPackages().open(path) as package:
        return package.digest


def deploy_command(
    package: Path,
    name: str = "shop",
    *,
    origin: Origin = Origin.DEPLOY,
    expected_digest: str | None = None,
    until: Until = Until.SHIFTED,
    **config: Any,
) -> Deploy:
    """A deploy of ``package``; by default on a free port."""
    config.setdefault("serve", {"port": 0})
    return Deploy(
        package_path=str(package),
        expected_digest=expected_digest or package_digest(package),
        config=DeploymentConfig.model_validate_json(json.dumps({"name": name, **config})),
        origin=origin,
        reason=None if origin is Origin.DEPLOY else "a test",
        actor="tests",
        until=until,
    )


@dataclass
class Foreground:
    """``hyperion serve --foreground`` on a state folder of its own, and a client of it."""

    state: Path
    process: subprocess.Popen[bytes]
    client: SupervisorClient
    progress: list[Progress] = field(default_factory=list)

    def deploy(self, package: Path, name: str = "shop", **config: Any) -> Deployed:
        reply = self.client.ask(deploy_command(package, name, **config), self.progress.append)
        assert isinstance(reply, Deployed)
        return reply

    def stop(self, name: str | None = None) -> Stopped:
        reply = self.client.ask(Stop(name=name, actor="tests"))
        assert isinstance(reply, Stopped)
        return reply

    def status(self) -> StatusReply:
        reply = self.client.ask(Status())
        assert isinstance(reply, StatusReply)
        return reply

    def figures(self, name: str = "shop") -> ServingFigures:
        return self.client.ask(Stats(name=name)).figures  # type: ignore[union-attr]

    def worker_pids(self, name: str = "shop") -> list[int]:
        found = next(d for d in self.status().deployments if d.deployment.name == name)
        return [worker.pid for worker in found.workers if worker.state == "accepting"]


@contextmanager
def supervisor(state: Path) -> Iterator[Foreground]:
    """Run a supervisor on ``state``; at the end it and its workers are gone."""
    state.mkdir(parents=True, exist_ok=True)
    with (state / "supervisor.out").open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "hyperion", "serve", "--foreground"],
            env=os.environ | {"HYPERION_HOME": str(state)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    running = Foreground(state, process, SupervisorClient(state))
    pids: list[int] = []
    try:
        eventually(lambda: process.poll() is not None or running.client.ping(), what="the supervisor's start")
        assert process.poll() is None, (state / "supervisor.out").read_text()
        yield running
    finally:
        if process.poll() is None:
            with suppress(HostError):  # it is ending already
                pids = [w.pid for d in running.status().deployments for w in d.workers]
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
            raise
        finally:
            end_orphans(state)


def end_orphans(state: Path) -> None:
    """Kill the workers that a killed supervisor left serving."""
    from hyperion.adapters.service.worker_processes import ExecutedWorkers

    for orphan in ExecutedWorkers(state).orphans():
        orphan.kill()
        orphan.reap()


def infer_body(rows: int = 1, seed: int = 3, **extra: Any) -> bytes:
    x = np.random.default_rng(seed).normal(size=(rows, FEATURES)).astype(np.float32)
    tensor = {"name": "x", "shape": [rows, FEATURES], "datatype": "FP32", "data": x.ravel().tolist()}
    return json.dumps({"inputs": [tensor], **extra}).encode()


def call(url: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> tuple[int, Any, Any]:
    """One request on a connection of its own: status, parsed body, headers."""
    request = urllib.request.Request(url, data=body, headers=headers or {})  # noqa: S310  (our own server)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            raw, status, found = answer.read(), answer.status, answer.headers
    except urllib.error.HTTPError as error:
        with error:
            raw, status, found = error.read(), error.code, error.headers
    text = raw.decode()
    return status, json.loads(text) if text.startswith("{") else text, found


def address_of(url: str) -> tuple[str, int]:
    host, port = url.removeprefix("http://").split(":")
    return host, int(port)


def dial(url: str) -> socket.socket:
    """A fresh connection to ``http://HOST:PORT`` or ``unix:PATH``."""
    if not url.startswith("unix:"):
        return socket.create_connection(address_of(url), 20)
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(20)
    try:
        connection.connect(url.removeprefix("unix:"))
    except OSError:
        connection.close()
        raise
    return connection


def read_answer(stream: Any) -> tuple[int, dict[str, str], bytes]:
    """One HTTP answer from a socket's file; raises ConnectionError where there is none."""
    status = stream.readline()
    if not status:
        raise ConnectionError("closed without an answer")
    headers = {}
    while (line := stream.readline().strip()) != b"":
        name, _, value = line.partition(b":")
        headers[name.decode().lower()] = value.strip().decode()
    body = stream.read(int(headers.get("content-length", 0)))
    return int(status.split()[1]), headers, body


@dataclass
class Load:
    """Clients that never retry: whatever goes wrong counts as failed."""

    url: str
    path: str
    body: bytes
    answers: list[tuple[float, str]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        host = self.url.removeprefix("http://")
        head = f"POST {self.path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(self.body)}\r\n"
        self._keep = head.encode() + b"\r\n" + self.body
        self._once = head.encode() + b"Connection: close\r\n\r\n" + self.body

    def start(self, keep_alive: int = 4, one_shot: int = 4) -> Load:
        targets = [self._keep_alive] * keep_alive + [self._one_shot] * one_shot
        self._threads = [threading.Thread(target=target, daemon=True) for target in targets]
        for thread in self._threads:
            thread.start()
        return self

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)

    def revisions(self) -> set[str]:
        return {revision for _, revision in self.answers}

    def _exchange(self, stream: Any, connection: socket.socket, request: bytes) -> bool:
        """One request; returns whether the connection may be used again."""
        connection.sendall(request)
        status, headers, body = read_answer(stream)
        if status != 200 or len(json.loads(body)["outputs"][0]["data"]) == 0:
            raise ConnectionError(f"status {status}: {body[:200]!r}")
        self.answers.append((time.monotonic(), headers["hyperion-revision"]))
        return headers.get("connection") != "close"

    def _keep_alive(self) -> None:
        while not self._stop.is_set():
            try:
                with dial(self.url) as connection, connection.makefile("rb") as s:
                    while self._exchange(s, connection, self._keep) and not self._stop.is_set():
                        self._stop.wait(0.005)
            except (OSError, ValueError, IndexError) as error:
                self.failures.append(f"keep-alive: {type(error).__name__}: {error}")

    def _one_shot(self) -> None:
        while not self._stop.is_set():
            try:
                with dial(self.url) as connection, connection.makefile("rb") as s:
                    self._exchange(s, connection, self._once)
                    self._stop.wait(0.005)
            except (OSError, ValueError, IndexError) as error:
                self.failures.append(f"one-shot: {type(error).__name__}: {error}")


def rewritten(package: Path, output: Path, replace: dict[str, bytes]) -> Path:
    """The same package with other bytes in some entries, and a manifest that agrees with them."""
    from functools import partial
    from io import BytesIO

    from hyperion.adapters.files.package_files import LocalPackages
    from hyperion.domain.manifest import MANIFEST
    from hyperion.format.archive import PendingEntry, write_archive

    with LocalPackages().open(package) as reader, output.open("wb") as stream:
        contents = {name: replace.get(name) or reader.read(name) for name in reader.names() if name != MANIFEST}
        pending = [PendingEntry(n, len(data), partial(BytesIO, data)) for n, data in contents.items()]
        write_archive(stream, pending, lambda entries: reader.manifest.model_copy(update={"entries": entries}))
    return output


def golden_bytes(x: Any, probabilities: Any) -> bytes:
    """A golden request of the test model as it lies in a package."""
    from safetensors.numpy import save

    return save({"input:x": x, "output:probabilities": probabilities})


def ledger_events(state: Path) -> tuple[Event, ...]:
    """What the ledger of this state folder holds."""
    from hyperion.adapters.host.system_clock import SystemClock
    from hyperion.adapters.store.ledger import SqliteLedger

    ledger = SqliteLedger(state / "ledger.db", SystemClock())
    try:
        assert ledger.first_broken() is None
        return ledger.events()
    finally:
        ledger.close()
