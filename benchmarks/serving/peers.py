"""The peers as processes: started, asked until they answer, and ended."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure import ROOT, free_port
from benchmarks.serving.environments import PeerUnavailableError, mlserver_python, triton_python
from benchmarks.serving.load import Line, post
from benchmarks.traffic import request_body

MODEL = "bench"
START_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Server:
    """A server that answers.

    Attributes:
        port: Of its HTTP.
        pid: Of its first process.
        cold_start_s: From the start of that process to its first answer.
    """

    port: int
    pid: int
    cold_start_s: float


@contextlib.contextmanager
def mlserver(model: Path) -> Iterator[Server]:
    """MLServer with its model in its own process (``parallel_workers`` 0), without metrics.

    Raises:
        PeerUnavailableError: It cannot be had or does not start here.
    """
    python, port = mlserver_python(), free_port()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copy(Path(__file__).with_name("mlserver_model.py"), folder)
        settings = {
            "parallel_workers": 0, "host": "127.0.0.1", "http_port": port, "grpc_port": free_port(),
            "metrics_endpoint": None, "load_models_at_startup": True,
        }  # fmt: skip
        (folder / "settings.json").write_text(json.dumps(settings))
        (folder / "model-settings.json").write_text(
            json.dumps({"name": MODEL, "implementation": "mlserver_model.BenchModel"})
        )
        command = [str(python.with_name("mlserver")), "start", name]
        with _running(command, port, {"BENCH_MODEL": str(model), "PYTHONPATH": name}) as server:
            yield server


@contextlib.contextmanager
def triton(model: Path) -> Iterator[Server]:
    """Triton's front end with its Python backend.

    Raises:
        PeerUnavailableError: It cannot be had or does not start here.
    """
    port = free_port()
    command = [str(triton_python()), str(Path(__file__).with_name("triton_model.py")), str(model), str(port)]
    with _running(command, port, {}) as server:
        yield server


PEERS: dict[str, Callable[[Path], contextlib.AbstractContextManager[Server]]] = {
    "MLServer 1.7.1, in process": mlserver,
    "Triton front end, Python backend (PyTriton 0.7.0)": triton,
}


@contextlib.contextmanager
def _running(command: list[str], port: int, environment: Mapping[str, str]) -> Iterator[Server]:
    with tempfile.TemporaryFile() as output:
        started = time.perf_counter()
        process = subprocess.Popen(
            command, env=os.environ | environment, cwd=ROOT, stdout=output, stderr=output, start_new_session=True
        )
        try:
            yield Server(port, process.pid, _first_answer(process, port, output) - started)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _first_answer(process: subprocess.Popen[bytes], port: int, output) -> float:
    """When the server had answered for the first time."""
    deadline = time.perf_counter() + START_TIMEOUT_S
    while True:
        try:
            Line(port).exchange(post(MODEL, request_body(0)))
            return time.perf_counter()
        except OSError:
            if process.poll() is None and time.perf_counter() < deadline:
                time.sleep(0.02)
                continue
            output.seek(0)
            said = output.read().decode(errors="replace").strip().splitlines()[-1:]
            raise PeerUnavailableError(f"it does not start here: {said[0] if said else 'no answer'}") from None
