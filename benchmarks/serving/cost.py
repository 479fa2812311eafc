"""CPU time of a request at a steady rate, of all processes that a server has."""

from __future__ import annotations

import time
from collections.abc import Sequence

from benchmarks.processes import cpu_s, tree
from benchmarks.serving.load import Line

RATE_PER_S = 100


def cost_ms(port: int, pid: int, requests: Sequence[bytes], count: int = 400, rate_per_s: float = RATE_PER_S) -> float:
    """CPU milliseconds per request, evenly spaced from one keep-alive client; ``pid`` is the server's first process."""
    line, pids = Line(port), tree(pid)
    for request in requests:
        line.exchange(request)
    before, began = cpu_s(pids), time.monotonic()
    for number in range(count):
        time.sleep(max(0.0, began + number / rate_per_s - time.monotonic()))
        line.exchange(requests[number % len(requests)])
    return 1000 * (cpu_s(pids) - before) / count
