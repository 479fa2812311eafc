"""100 rollbacks to a revision that is kept warm, under load: how long the order takes, and who gets the old one."""

from __future__ import annotations

import math
import os
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

from benchmarks.inputs import write_mlp
from benchmarks.measure import Figure, Result, median, report, service, spread
from benchmarks.serving.clients import Seen, clients
from hyperion.adapters.service.control_client import SupervisorClient
from hyperion.domain.command import Deploy, Deployed, Status
from hyperion.domain.deployment import Origin, Revision

NAME, FLIPS, FSYNCS = "bench", 100, 200
ORDER_LIMIT_MS, SETTLED_LIMIT_MS = 10.0, 50.0
PAUSE_S = 0.15


def measure(flips: int = FLIPS) -> Result:
    """Two revisions take turns; every flip is asked of the supervisor itself, as `rollback model --to` asks it."""
    orders, begins = [], []
    with service() as host:
        packages = [
            host.package(write_mlp(host.folder / f"v{n}", f"1.{n}.0", seed=n), "--quantize", "none") for n in (0, 1)
        ]
        for package in packages:
            host.deploy(package, NAME)
        client = SupervisorClient(host.folder / "state")
        disk = _fsync_ms(host.folder)
        with clients(host.port, NAME) as answers:
            for _ in range(flips):
                target = _warm(client)
                threading.Event().wait(PAUSE_S)
                begins.append(time.monotonic())
                _flip(client, target)
                orders.append(1000 * (time.monotonic() - begins[-1]))
            threading.Event().wait(PAUSE_S)
    failed = Counter(answer.fault for answer in answers if answer.fault is not None)
    for fault, count in failed.most_common(5):
        print(f"  {count} x {fault}")
    settled = [1000 * _last_of_the_old(answers, began, 2 + number) for number, began in enumerate(begins)]
    limit = ORDER_LIMIT_MS + _percentile(disk, 0.99)
    figures = (
        Figure(f"warm rollback, order to acknowledgement, p99 of {flips}", "ms", _percentile(orders, 0.99),
               spread(orders), limit=limit, key="W1",
               note=f"Median {median(orders):.3g} ms. Limit: 10 ms and this run's fsync, p99 {limit - 10:.3g} ms "
               f"(median {median(disk):.2g} ms, {FSYNCS} of them). Connecting to the supervisor is part of it."),
        Figure(f"until the last answer by the revision before, median of {flips}", "ms", median(settled),
               spread(settled), limit=SETTLED_LIMIT_MS, key="W2",
               note="4 keep-alive and 4 one-shot clients share the cores; an answer counts when a client has read it."),
        Figure(f"failed requests in {flips} warm rollbacks", "requests", failed.total(), (failed.total(),) * 2,
               limit=0, key="W3", note=f"{len(answers)} requests sent."),
    )  # fmt: skip
    return Result("flips", f"{flips} warm rollbacks under load", "python -m benchmarks.serving.flips", figures)


def _last_of_the_old(answers: list[Seen], began: float, revision: int) -> float:
    """Seconds until the last answer by this revision, or an earlier one, that was read after the order."""
    return max((seen.at - began for seen in answers if seen.revision is not None and seen.revision <= revision
                and seen.at >= began), default=0.0)  # fmt: skip


def _warm(client: SupervisorClient) -> Revision:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        warm = client.ask(Status()).deployments[0].warm
        if warm is not None:
            return warm.revision
        threading.Event().wait(0.02)
    raise RuntimeError("no revision is kept warm")


def _flip(client: SupervisorClient, target: Revision) -> None:
    order = Deploy(
        package_path=None, expected_digest=target.digest, config=target.config, origin=Origin.ROLLBACK,
        reason="a benchmark", actor="benchmarks",
    )  # fmt: skip
    reply = client.ask(order)
    if not isinstance(reply, Deployed) or not reply.promoted:
        raise RuntimeError(f"the rollback did not go through: {reply}")


def _fsync_ms(folder: Path) -> list[float]:
    """How long this disk takes to make one write of a page durable."""
    taken = []
    with tempfile.TemporaryFile(dir=folder) as stream:
        for _ in range(FSYNCS):
            stream.write(bytes(4096))
            stream.flush()
            started = time.perf_counter()
            os.fsync(stream.fileno())
            taken.append(1000 * (time.perf_counter() - started))
    return taken


def _percentile(values: list[float], share: float) -> float:
    return sorted(values)[math.ceil(len(values) * share) - 1]


if __name__ == "__main__":
    sys.exit(report(measure()))
