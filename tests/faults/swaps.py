"""Swaps and rollbacks under load: no request is lost, and no one gets an old revision for long."""

from __future__ import annotations

import time
from pathlib import Path

from hyperion.domain.command import Deploy, Deployed
from hyperion.domain.deployment import Origin, Revision
from tests.faults.crowd import ALL, PLAIN, Crowd, Manners
from tests.faults.stage import NAME, QUIET, Outcome, Packages, crowd, serving, shop
from tests.serving_kit import Foreground, eventually

SETTLE_S = 2.5
"""How long after a flip a connection may be on its way to its next worker: traffic.PATIENCE_S and a little."""


def swaps(
    folder: Path, packages: Packages, count: int, *, workers: int = 1, slow: bool = False, manners: Manners = ALL
) -> Outcome:
    """Deploy two packages in turn."""
    pair = ("slow1", "slow2") if slow else ("v1", "v2")
    outcome = Outcome(f"{count} swaps, {workers} workers{', 100 ms requests' if slow else ''}")
    with serving(folder, packages[pair[0]], workers=workers, **QUIET) as (running, url):
        every_s = 0.2 if slow else 0.007
        with crowd(running, url, {"keep-alive": 2, "one-shot": 1} if slow else manners, every_s) as clients:
            for number in range(1, count + 1):
                deployed = running.deploy(packages[pair[number % 2]], NAME, workers=workers, **QUIET)
                outcome.demand(deployed.promoted, f"swap {number} was not promoted: {deployed.reason}")
            end = time.monotonic()
            eventually(lambda: clients.answered(end) > 5, what="answers after the last swap")
        _demand_progress(outcome, clients, count + 1)
    return outcome


def rollbacks(folder: Path, packages: Packages, count: int, *, workers: int = 1) -> Outcome:
    """Flip between two revisions, of which the other is warm each time."""
    outcome = Outcome(f"{count} warm rollbacks, {workers} workers")
    orders: list[float] = []
    left: list[tuple[int, float]] = []
    with serving(folder, packages["v1"], workers=workers, **QUIET) as (running, url):
        running.deploy(packages["v2"], NAME, workers=workers, **QUIET)
        with crowd(running, url, {**PLAIN, "pipelining": 1}) as clients:
            for number in range(count):
                eventually(lambda: shop(running).warm is not None, what="a warm revision")
                bad, warm = shop(running).deployment.active_revision, shop(running).warm.revision
                began = time.monotonic()
                deployed = flip(running, warm)
                switched = time.monotonic()
                orders.append(1000 * (switched - began))
                outcome.demand(deployed.promoted, f"rollback {number} was not promoted")
                left.append((bad, switched))
                eventually(lambda switched=switched: clients.answered(switched + 0.2) > 5, what="answers")
            eventually(lambda: clients.answered(left[-1][1] + SETTLE_S) > 5, what="answers after the last rollback")
        late = [clients.last_of(bad) - switched for bad, switched in left]  # of all, to the end: each has its number
        outcome.demand(max(late) < SETTLE_S, f"the bad revision answered {max(late):.2f} s after a rollback")
        _demand_progress(outcome, clients, count + 2)
    orders.sort()
    outcome.facts |= {
        "order p50 ms": orders[len(orders) // 2], "p99 ms": orders[int(len(orders) * 0.99)],
        "latest request to a bad revision s": max(late),
    }  # fmt: skip
    return outcome


def flip(running: Foreground, target: Revision) -> Deployed:
    """A rollback to a revision that is warm, as ``rollback model --to`` asks for it."""
    command = Deploy(
        package_path=None, expected_digest=target.digest, config=target.config, origin=Origin.ROLLBACK,
        reason="a fault", actor="tests",
    )  # fmt: skip
    reply = running.client.ask(command)
    assert isinstance(reply, Deployed)
    return reply


def _demand_progress(outcome: Outcome, clients: Crowd, revisions: int) -> None:
    outcome.demand_none(clients)
    seen = {sent.revision for sent in clients.sent if sent.fault is None}
    outcome.facts["revisions that answered"] = len(seen)
    outcome.demand(max(seen, default=0) == revisions, f"the last revision to answer was {max(seen, default=0)}")
