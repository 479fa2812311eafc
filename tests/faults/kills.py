"""Processes that die: workers, the supervisor at every edge of a rollout, and both."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, NamedTuple

from hyperion.domain.event import EventKind
from hyperion.errors import HyperionError
from tests.faults import bad_candidates, swaps
from tests.faults.crowd import PLAIN, Crowd
from tests.faults.stage import NAME, QUIET, Outcome, Packages, bad, crowd, serving, shop
from tests.ports import free_port
from tests.serving_kit import Foreground, eventually, ledger_events, supervisor

CANARY: dict[str, Any] = {
    "strategy": "canary",
    "canary": {"steps": [{"share": 0.3, "bake_s": 2}]},
    "gates": {"watch_s": 2, "min_samples": 10, "golden_replay_s": 0},
}


class Edge(NamedTuple):
    """A state at which the supervisor is killed: when a rollout of ``package`` is there."""

    is_there: Callable[[Foreground], object]
    config: Mapping[str, Any] = {}
    package: str = "v2"


EDGES: dict[str, Edge] = {
    "spawned": Edge(lambda running: _has(running, 2, "spawned", "loaded", "gated", "accepting")),
    "loaded": Edge(lambda running: _has(running, 2, "loaded", "gated", "accepting")),
    "gated": Edge(lambda running: _has(running, 2, "gated", "accepting")),
    "opening": Edge(lambda running: _has(running, 2, "gated", "canary"), CANARY),
    "canary": Edge(lambda running: _has(running, 2, "canary"), CANARY),
    "aborting": Edge(lambda running: _has(running, 2, "lame_duck"), bad_candidates.CANARY, "hanging"),
    "accepting": Edge(lambda running: _has(running, 2, "accepting")),
    "leaving": Edge(lambda running: _has(running, 1, "lame_duck", "resting", "warm")),
    "baking": Edge(lambda running: shop(running).deployment.active_revision == 2, {"gates": {"watch_s": 60}}),
    "warm": Edge(lambda running: _has(running, 1, "warm")),
}
FLIPS = {"flip": "v2", "way back": "nan"}
"""Switches to the warm revision during which the supervisor is killed: one by hand, one that a bad revision brings."""
SPARE_MS = 50.0
"""From the kill to the first answer of the spare that takes over: the issue's bar."""
PATIENCE_S = 3.0
"""Until connections that are never at rest have changed their worker."""


def worker(folder: Path, packages: Packages, count: int, *, spare: bool) -> Outcome:
    """kill -9 a worker that is alone: lost is at most what it held, and nobody is refused."""
    outcome = Outcome(f"{count} kills of the only worker{', with a warm spare' if spare else ''}")
    recovered: list[float] = []
    with (
        serving(folder, packages["v1"], warm_spare=spare, **QUIET) as (running, url),
        crowd(running, url, PLAIN) as clients,
    ):
        for _ in range(count):
            if spare:
                eventually(lambda: any(w.state == "gated" for w in shop(running).workers), what="the spare")
            (pid,) = eventually(running.worker_pids)
            before, began = clients.faults().total(), time.monotonic()
            os.kill(pid, signal.SIGKILL)
            eventually(lambda began=began: clients.answered(began + 0.001) > 20, what="answers after a kill")
            first = min(s.ended_at for s in clients.sent if s.fault is None and s.sent_at > began)
            recovered.append(1000 * (first - began))
            held = sum(PLAIN.values())
            lost = clients.faults().total() - before
            outcome.demand(lost <= held, f"{lost} requests failed where {held} connections were held")
            eventually(lambda pid=pid: running.worker_pids() not in ([], [pid]), what="the replacement")
            clients_settle()
    _note_lost(outcome, clients)
    median = sorted(recovered)[len(recovered) // 2]
    outcome.facts |= {"first answer ms, median": median}
    outcome.demand(not spare or median <= SPARE_MS, f"the spare took {median:.0f} ms")
    return outcome


def clients_settle() -> None:
    """A crash loop would be given up: let the supervisor see that the worker stays."""
    threading.Event().wait(1.0)


def _note_lost(outcome: Outcome, clients: Crowd) -> None:
    faults = clients.faults()
    outcome.facts |= {"requests": len(clients.sent), "lost": faults.total()}
    for fault, count in faults.items():
        outcome.demand("refused" not in fault.lower(), f"{count} x {fault}")
        outcome.demand("wrong" not in fault, f"{count} x {fault}")


def supervisor_at(folder: Path, packages: Packages, name: str) -> Outcome:
    """kill -9 the supervisor at one edge of a rollout: no request is lost, and the next one goes on."""
    edge = EDGES[name]
    outcome = Outcome(f"the supervisor killed: {name}")
    config = {**QUIET, "limits": bad_candidates.LIMITS, **edge.config}
    with (
        serving(folder, packages["v1"], limits=bad_candidates.LIMITS, **QUIET) as (first, url),
        ThreadPoolExecutor(1) as pool,
        ExitStack() as asking,
    ):
        clients = asking.enter_context(crowd(first, url, {**PLAIN, "silent": 2}))
        rollout = pool.submit(first.deploy, packages[edge.package], NAME, **config)
        eventually(lambda: edge.is_there(first), timeout_s=60, what=f"the edge '{name}'")
        _kill(first)
        with suppress(HyperionError, AssertionError):
            rollout.result(30)
        _demand_next(outcome, folder, packages, clients, asking)
    outcome.demand_none(clients, but_of=2 if edge.package in bad() else None)
    return outcome


def supervisor_in(folder: Path, packages: Packages, name: str) -> Outcome:
    """kill -9 the supervisor once a flip is decided, before its warm worker takes traffic: it is gone through with."""
    outcome = Outcome(f"the supervisor killed: {name}")
    with (
        serving(folder, packages["v1"], **QUIET) as (first, url),
        ThreadPoolExecutor(1) as pool,
        ExitStack() as asking,
    ):
        clients = asking.enter_context(crowd(first, url, {**PLAIN, "silent": 2}))
        eventually(lambda: clients.answered() > 200, what="a window to compare with")
        first.deploy(packages[FLIPS[name]], NAME, gates=bad_candidates.GATES)
        eventually(lambda: _has(first, 1, "warm") or _is_active(first, 3), what="the warm worker")
        (pid,) = (worker.pid for worker in shop(first).workers if worker.revision != 2)
        os.kill(pid, signal.SIGSTOP)
        try:
            flipping = pool.submit(swaps.flip, first, shop(first).warm.revision) if name == "flip" else None
            eventually(lambda: _is_active(first, 3), what="the decision")
            _kill(first)
        finally:
            os.kill(pid, signal.SIGCONT)
        if flipping is not None:
            outcome.demand(flipping.exception(30), "it was not killed during the flip")
        _demand_next(outcome, folder, packages, clients, asking)
    outcome.demand(outcome.facts["active after it"] == 3, "the flip was not gone through with")
    kinds = {event.kind for event in ledger_events(folder)}
    outcome.demand(EventKind.ROLLOUT_ABORTED not in kinds, "it was aborted")
    outcome.demand_none(clients, but_of=2 if FLIPS[name] in bad() else None)
    return outcome


def _kill(running: Foreground) -> None:
    running.process.kill()
    running.process.wait()


def _demand_next(outcome: Outcome, folder: Path, packages: Packages, clients: Crowd, asking: ExitStack) -> None:
    """Clients are answered without a supervisor; the next one adopts, serves one revision, and rolls out another.

    Then the clients leave, by ``asking``.
    """
    killed = time.monotonic()
    eventually(lambda: clients.answered(killed) > 20, what="answers without a supervisor")
    with supervisor(folder) as second:
        eventually(lambda: shop(second).serving, what="the adoption")
        active = eventually(lambda: shop(second).deployment.active_revision)
        threading.Event().wait(PATIENCE_S)
        settled = time.monotonic()
        eventually(lambda: clients.answered(settled) > 20, what="answers after the adoption")
        seen = {s.revision for s in clients.sent if s.fault is None and s.sent_at > settled}
        outcome.demand(seen == {active}, f"revisions {seen} answer where {active} is active")
        if active == 2:
            warm = shop(second).warm
            outcome.demand(warm is not None and warm.revision.number == 1, "what was replaced is not warm")
        again = second.deploy(packages["v1" if active == 2 else "v2"], NAME, **QUIET)
        outcome.demand(again.promoted, f"the next rollout did not go through: {again.reason}")
        end = time.monotonic()
        eventually(lambda: clients.answered(end) > 5, what="answers of the next rollout")
        asking.close()
    outcome.facts["active after it"] = active


def gives_way(folder: Path, packages: Packages, count: int) -> Outcome:
    """SIGUSR2: a fresh supervisor in the same process, time after time; every worker stays, no request fails."""
    outcome = Outcome(f"{count} fresh supervisors in the process of the one before")
    gaps: list[float] = []
    with (
        serving(folder, packages["v1"], workers=2, **QUIET) as (running, url),
        crowd(running, url, {**PLAIN, "silent": 2}) as clients,
    ):
        before = sorted(running.worker_pids())
        for number in range(count):
            started, began = _starts(folder), time.monotonic()
            running.process.send_signal(signal.SIGUSR2)
            eventually(lambda n=started: _starts(folder) > n and running.client.ping(), what="the successor")
            gaps.append(1000 * (time.monotonic() - began))
            eventually(lambda: len(running.worker_pids()) == 2, what="the adoption")
            outcome.demand(sorted(running.worker_pids()) == before, f"other workers after {number + 1}")
        again = running.deploy(packages["v2"], NAME, workers=2, **QUIET)
        outcome.demand(again.promoted, "the next rollout did not go through")
        end = time.monotonic()
        eventually(lambda: clients.answered(end) > 5, what="answers of the next rollout")
    outcome.demand_none(clients)
    outcome.facts["until it answers ms, median"] = sorted(gaps)[len(gaps) // 2]
    return outcome


def _starts(state: Path) -> int:
    """How many supervisors have started here."""
    return sum(event.kind is EventKind.SUPERVISOR_STARTED for event in ledger_events(state))


def both(folder: Path, packages: Packages) -> Outcome:
    """kill -9 supervisor and worker: the service is down, as it must be; the next supervisor brings it back."""
    outcome = Outcome("supervisor and worker killed")
    with serving(folder, packages["v1"], serve={"port": free_port()}, **QUIET) as (first, url):
        (pid,) = first.worker_pids()
        first.process.kill()
        os.kill(pid, signal.SIGKILL)
        first.process.wait()
        with supervisor(folder) as second:
            eventually(lambda: shop(second).serving, what="the return of the service")
            with crowd(second, url) as clients:
                began = time.monotonic()
                eventually(lambda: clients.answered(began) > 20, what="answers")
            outcome.demand_none(clients)
            outcome.demand({s.revision for s in clients.sent} == {1}, "another revision answers")
    return outcome


def stopped(folder: Path, packages: Packages) -> Outcome:
    """SIGSTOP: no process ends, so only a heartbeat can tell."""
    outcome = Outcome("a worker stopped by a signal")
    with serving(folder, packages["v1"], workers=2, **QUIET) as (running, url), crowd(running, url) as clients:
        pid = running.worker_pids()[0]
        began = time.monotonic()
        os.kill(pid, signal.SIGSTOP)
        eventually(lambda: pid not in running.worker_pids() and len(running.worker_pids()) == 2, what="its replacement")
        outcome.facts["replaced after s"] = time.monotonic() - began
        back = time.monotonic()
        eventually(lambda: clients.answered(back) > 20, what="answers")
    _note_lost(outcome, clients)
    return outcome


def _is_active(running: Foreground, revision: int) -> bool:
    return bool(shop(running).deployment.active_revision == revision)


def _has(running: Foreground, revision: int, *states: str) -> bool:
    """Whether a worker of this revision is in one of these states."""
    return any(w.revision == revision and w.state in states for w in shop(running).workers)
