"""From the start of a worker's process to its first answer to a client, against importing onnxruntime."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

from benchmarks.inputs import write_mlp
from benchmarks.measure import Figure, Result, Service, median, report, seconds, service, spread, take_turns
from benchmarks.processes import started_at_s
from benchmarks.traffic import Traffic, random_requests

NAME, PAUSE_S = "bench", 0.005


def measure(rounds: int = 5) -> Result:
    """Each round deploys the other of two packages while one client asks, and looks when its first answer came."""
    with service() as host:
        packages = [
            host.package(write_mlp(host.folder / f"v{n}", f"1.{n}.0", seed=n), "--quantize", "none") for n in (0, 1)
        ]
        host.deploy(packages[0], NAME)
        found = take_turns(
            {
                "worker": lambda: _swap_and_time(host, packages),
                "import": lambda: seconds([sys.executable, "-c", "import onnxruntime"]),
            },
            rounds,
        )
    figure = Figure(
        "worker: process start to first answer", "s", median(found["worker"]), spread(found["worker"]),
        against="python -c 'import onnxruntime'", reference=median(found["import"]),
        note="Includes imports, loading, warm-up, the golden proof and the order to accept. Process start as the "
        "kernel dates it (10 ms steps). One client asks every few milliseconds meanwhile.",
    )  # fmt: skip
    return Result(
        "cold-start", f"Cold start of a worker, median of {rounds}", "python -m benchmarks.cold_start", (figure,)
    )


def _swap_and_time(host: Service, packages: list[Path]) -> float:
    """Seconds from the new worker's start to its first answer."""
    packages.reverse()
    before = time.clock_gettime(time.CLOCK_BOOTTIME)
    with Traffic(host.port, NAME, random_requests(), keep_alive=0, one_shot=1, pause_s=PAUSE_S) as traffic:
        began = before + traffic.now_s()
        host.deploy(packages[0], NAME)
        status = host.run("status")
        wanted = _revision(status)
        _await(lambda: any(answer.revision == wanted for answer in traffic.answers))
        first = next(answer.at_s for answer in traffic.answers if answer.revision == wanted)
    return began + first - started_at_s(_worker_pid(status, wanted))


def _revision(status: dict) -> int:
    return int(status["deployments"][0]["active"]["number"])


def _worker_pid(status: dict, revision: int) -> int:
    workers = status["deployments"][0]["workers"]
    return next(int(worker["pid"]) for worker in workers if worker["revision"] == revision)


def _await(condition, timeout_s: float = 10.0) -> None:
    pause, deadline = threading.Event(), time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError("the new revision never answered")
        pause.wait(0.01)


if __name__ == "__main__":
    sys.exit(report(measure()))
