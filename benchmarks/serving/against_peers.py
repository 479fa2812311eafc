"""CPU per request, throughput and cold start beside MLServer and Triton's front end, the same model in all."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks import cold_start
from benchmarks.inputs import write_mlp
from benchmarks.measure import Figure, Result, median, report, service, spread, take_turns
from benchmarks.serving.cost import RATE_PER_S, cost_ms
from benchmarks.serving.environments import PeerUnavailableError
from benchmarks.serving.load import BODIES, load, post
from benchmarks.serving.peers import MODEL, PEERS, Server
from benchmarks.traffic import request_body

OURS = "hyperion"
CONNECTIONS, LOAD_S = 16, 4.0
CPU_LIMIT_MS, CPU_BAR, LOAD_BAR, COLD_START_LIMIT_S = 0.8, 1 / 3, 1 / 4, 1.0
MLSERVER, TRITON = PEERS
RIVALS = {"C": (MLSERVER,), "L": (MLSERVER, TRITON), "S": (MLSERVER, TRITON)}
"""Whom each figure is compared with, by the first letter of its key."""


def measure(rounds: int = 5) -> Result:
    """Ours and the peers take turns, all running; cold starts are measured on their own."""
    with service() as host, contextlib.ExitStack() as running:
        source = write_mlp(host.folder / "v0", "1.0.0", seed=0)
        host.deploy(host.package(source, "--quantize", "none"), MODEL)
        absent: dict[str, str] = {}
        servers = {OURS: Server(host.port, int(host.run("status")["supervisor"]["pid"]), 0.0)}
        for name, start in PEERS.items():
            try:
                servers[name] = running.enter_context(start(source / "model.onnx"))
            except PeerUnavailableError as error:
                absent[name] = str(error)
        requests = [post(MODEL, request_body(seed)) for seed in range(BODIES)]
        costs = _in_turns(servers, lambda server: cost_ms(server.port, server.pid, requests), rounds)
        loads = _in_turns(servers, lambda server: 1000 / load(server.port, MODEL, CONNECTIONS, LOAD_S).per_s, rounds)
        starts = {OURS: _cold_starts(), **{name: [servers[name].cold_start_s] for name in servers if name != OURS}}
        for name in servers:
            if name != OURS:
                starts[name] += [_started(name, source) for _ in range(2)]
    figures = (
        *_figures("C", "CPU per request", "ms", costs, absent, limit=CPU_LIMIT_MS, bar=CPU_BAR, note=COST_NOTE),
        *_figures("L", f"time per answer at {CONNECTIONS} connections", "ms", loads, absent, bar=LOAD_BAR,
                  note=f"{LOAD_S:g} s a round: " + _rates(loads)),
        *_figures("S", "cold start to the first answer", "s", starts, absent, limit=COLD_START_LIMIT_S,
                  note=START_NOTE),
    )  # fmt: skip
    command = "python -m benchmarks.serving.against_peers"
    return Result("against-peers", f"The same 32-float MLP in all servers, median of {rounds} rounds", command, figures)


COST_NOTE = (
    f"400 requests a round, {RATE_PER_S} a second, one keep-alive client; all processes of a server, ours with "
    "metrics, limits, log and supervisor. CPU time comes in 10 ms ticks: +-0.05 ms."
)
START_NOTE = (
    "Ours: a worker's process start, as the kernel dates it, to its first answer to a client. A peer: from its command."
)


def _in_turns(servers: dict[str, Server], way: Callable[[Server], float], rounds: int) -> dict[str, list[float]]:
    return take_turns({name: lambda server=server: way(server) for name, server in servers.items()}, rounds)


def _figures(
    key: str, title: str, unit: str, found: dict[str, list[float]], absent: dict[str, str], *,
    limit: float | None = None, bar: float | None = None, note: str = "",
) -> list[Figure]:  # fmt: skip
    """A row for each rival."""
    ours = found[OURS]
    return [
        Figure(
            title, unit, median(ours), spread(ours), against=rival,
            reference=median(found[rival]) if rival in found else None,
            limit=limit if number == 1 else None, bar=bar, note=note if number == 1 else "",
            key=f"{key}{number}", unavailable=absent.get(rival),
        )
        for number, rival in enumerate(RIVALS[key], 1)
    ]  # fmt: skip


def _rates(loads: dict[str, list[float]]) -> str:
    rates = ", ".join(f"{name} {1000 / median(found):.0f}" for name, found in loads.items())
    return f"answers a second: {rates}."


def _cold_starts() -> list[float]:
    """Seconds of our own cold starts."""
    figure = cold_start.measure(rounds=3).figures[0]
    return [figure.spread[0], figure.ours or 0.0, figure.spread[1]]


def _started(name: str, source: Path) -> float:
    with PEERS[name](source / "model.onnx") as server:
        return server.cold_start_s


if __name__ == "__main__":
    sys.exit(report(measure()))
