"""What forwarding a request to a canary costs beside answering it at home: CPU time of both workers, exactly."""

from __future__ import annotations

import http.client
import statistics
import sys
import time
from pathlib import Path

from tests.worker_kit import INFER, DrivenWorker, Workers, workers

from benchmarks.inputs import write_mlp
from benchmarks.measure import Figure, Result, report, service, spread
from benchmarks.traffic import request_body

REQUESTS, RATE_PER_S = 400, 100
LIMIT_MS = 0.25


def measure(rounds: int = 7) -> Result:
    """A stable and a canary's worker, one keep-alive client; all requests at home, all forwarded, in turn."""
    with service() as host:
        packages = [
            host.package(write_mlp(host.folder / f"v{n}", f"1.{n}.0", seed=n), "--quantize", "none") for n in (0, 1)
        ]
        with workers(host.folder / "workers") as kit:
            stable, candidate = (kit.start(package, n + 1) for n, package in enumerate(packages))
            stable.accept()
            candidate.open_frames()
            found: list[tuple[_Round, _Round]] = []
            for number in range(rounds + 1):
                shares = (0.0, 1.0) if number % 2 else (1.0, 0.0)
                made = {share: _round(kit, stable, candidate, share) for share in shares}
                if number:  # the first one warms up
                    found.append((made[0.0], made[1.0]))
    extra = [forwarded.cpu_ms - home.cpu_ms for home, forwarded in found]
    later = [forwarded.latency_ms - home.latency_ms for home, forwarded in found]
    note = f"{REQUESTS} requests a round, {RATE_PER_S} a second, 32 floats each; schedstat of both workers, in ns."
    figures = (
        Figure("CPU of forwarding, beside an answer at home", "ms", statistics.median(extra), spread(extra),
               limit=LIMIT_MS, note=note),
        Figure("latency of forwarding, beside an answer at home", "ms", statistics.median(later), spread(later),
               note="Medians, as the client sees them."),
    )  # fmt: skip
    what = f"Forwarding to a canary, median of {rounds} rounds"
    return Result("canary-cost", what, "python -m benchmarks.canary_cost", figures)


class _Round:
    """One round: CPU of both workers and median latency, per request."""

    def __init__(self, cpu_ms: float, latency_ms: float) -> None:
        self.cpu_ms = cpu_ms
        self.latency_ms = latency_ms


def _round(kit: Workers, stable: DrivenWorker, candidate: DrivenWorker, share: float) -> _Round:
    stable.route(share, candidate)
    pids = [stable.process.pid, candidate.process.pid]
    connection = http.client.HTTPConnection(kit.url.removeprefix("http://"), timeout=10)
    bodies = [request_body(seed) for seed in range(16)]
    latencies = []
    before, began = _cpu_ns(pids), time.monotonic()
    for number in range(REQUESTS):
        time.sleep(max(0.0, began + number / RATE_PER_S - time.monotonic()))
        started = time.perf_counter()
        connection.request("POST", INFER, bodies[number % len(bodies)])
        response = connection.getresponse()
        response.read()
        latencies.append(1000 * (time.perf_counter() - started))
        expected = "2" if share else "1"
        if (response.status, response.headers["hyperion-revision"]) != (http.HTTPStatus.OK, expected):
            raise RuntimeError(f"status {response.status}, revision {response.headers['hyperion-revision']}")
    connection.close()
    return _Round((_cpu_ns(pids) - before) / 1e6 / REQUESTS, statistics.median(latencies))


def _cpu_ns(pids: list[int]) -> int:
    """Time on a processor of all threads of these processes (/proc/PID/task/TID/schedstat)."""
    tasks = (task for pid in pids for task in Path(f"/proc/{pid}/task").iterdir())
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks)


if __name__ == "__main__":
    sys.exit(report(measure()))
