"""CPU time per request at a low steady rate: Hyperion's whole process tree against bare uvicorn, same model."""

from __future__ import annotations

import contextlib
import http.client
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.inputs import write_mlp
from benchmarks.measure import ROOT, Figure, Result, free_port, median, report, service, spread, take_turns
from benchmarks.processes import cpu_s, tree
from benchmarks.traffic import request_body

NAME, REQUESTS, RATE_PER_S = "bench", 400, 100


def measure(rounds: int = 5) -> Result:
    """One keep-alive client, requests evenly spaced; CPU ticks of the server's processes before and after."""
    with service() as host:
        package = host.package(write_mlp(host.folder / "v0", "1.0.0", seed=0), "--quantize", "none")
        host.deploy(package, NAME)
        supervisor = int(host.run("status")["supervisor"]["pid"])
        with _bare_server(package) as (bare, port):
            latencies: dict[str, list[float]] = {"ours": [], "bare": []}
            ways = {
                "ours": lambda: _cost_ms(host.port, tree(supervisor), latencies["ours"]),
                "bare": lambda: _cost_ms(port, [bare], latencies["bare"]),
            }
            take_turns(ways, 1)
            found = take_turns(ways, rounds)
    note = (
        f"{REQUESTS} requests a round, {RATE_PER_S} a second, one keep-alive client, 32 floats each; supervisor and "
        "worker together. CPU time comes in 10 ms ticks: +-0.05 ms."
    )
    figures = (
        Figure("CPU per request", "ms", median(found["ours"]), spread(found["ours"]), "bare uvicorn, same session",
               median(found["bare"]), note=note),
        Figure("median latency at this rate", "ms", median(latencies["ours"]), spread(latencies["ours"]),
               "bare uvicorn, same session", median(latencies["bare"]), note="As the client sees it."),
    )  # fmt: skip
    return Result(
        "request-cost", f"Cost of a request, median of {rounds} rounds", "python -m benchmarks.request_cost", figures
    )


@contextlib.contextmanager
def _bare_server(package: Path) -> Iterator[tuple[int, int]]:
    port = free_port()
    server = subprocess.Popen([sys.executable, "-m", "benchmarks.bare_server", str(package), str(port)], cwd=ROOT)
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                _send(http.client.HTTPConnection("127.0.0.1", port, timeout=5), request_body(0))
                break
            except OSError:
                if time.monotonic() > deadline or server.poll() is not None:
                    raise
                time.sleep(0.05)
        yield server.pid, port
    finally:
        server.terminate()
        server.wait(10)


def _cost_ms(port: int, pids: Sequence[int], latencies: list[float]) -> float:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    bodies = [request_body(seed) for seed in range(16)]
    before, began = cpu_s(pids), time.monotonic()
    for number in range(REQUESTS):
        time.sleep(max(0.0, began + number / RATE_PER_S - time.monotonic()))
        started = time.perf_counter()
        _send(connection, bodies[number % len(bodies)])
        latencies.append(1000 * (time.perf_counter() - started))
    connection.close()
    return 1000 * (cpu_s(pids) - before) / REQUESTS


def _send(connection: http.client.HTTPConnection, body: bytes) -> None:
    connection.request("POST", f"/v2/models/{NAME}/infer", body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    raw = response.read()
    if response.status != http.HTTPStatus.OK:
        raise RuntimeError(f"status {response.status}: {raw[:200]!r}")


if __name__ == "__main__":
    sys.exit(report(measure()))
