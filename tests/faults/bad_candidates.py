"""Candidates that go bad before traffic, in a canary, and after promotion: the stable share is never touched."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from hyperion.domain.event import EventKind
from hyperion.domain.serving_state import RolloutState
from tests.faults.memory_group import memory_group
from tests.faults.stage import NAME, QUIET, Outcome, Packages, crowd, serving, shop
from tests.serving_kit import Foreground, eventually, ledger_events

KILLED = "killed for memory"
IN_GATE: dict[str, dict[str, Any]] = {
    "crashing": {},
    "hanging": {"startup_timeout_s": 4},
    "slow": {"gates": {"p99_ms": 20}},
    "nan": {},
    "misshapen": {},
    "wrong": {},
    "two rows": {},
    "greedy": {"memory": {"budget_mb": 150}},
    KILLED: {"memory": {"limit_mb": 200}},
}
"""What each is given; all have a golden request that provokes them, or that expects other values."""
MEMORY_MB = 64
IN_CANARY = ("crashing", "hanging", "slow", "nan", "misshapen", "lying", "greedy", KILLED)
BAKE_S = 4
GATES: dict[str, Any] = {"watch_s": 8, "min_samples": 20, "memory_growth_mb": MEMORY_MB, "golden_replay_s": 0}
LIMITS = {"request_timeout_s": 2}
CANARY: dict[str, Any] = {
    "strategy": "canary", "canary": {"steps": [{"share": 0.2, "bake_s": BAKE_S}]}, "limits": LIMITS,
    "gates": {**GATES, "deadline_s": 20},
}  # fmt: skip
MAY_GROW: dict[str, Any] = {"gates": {**CANARY["gates"], "memory_growth_mb": 1000}, "memory": {"limit_mb": 200}}
LIAR: dict[str, Any] = {
    "canary": {"steps": [{"share": 0.2, "bake_s": 15}]}, "gates": {**CANARY["gates"], "golden_replay_s": 0.5},
}  # fmt: skip
"""Wrong values fail no request: the golden requests, asked again and again, find them."""
LAST_S = 1.5
"""How long after the abort a request may still be on its way back from the candidate."""
GONE_S = 8.0
"""How long after the abort the memory of a candidate may be taken: worker_set.LEAVE_S, or what its answers are waited
for and worker_set.EXIT_S; and a little."""


def in_gate(folder: Path, packages: Packages, kind: str) -> Outcome:
    """It fails its proof: no request reaches it."""
    outcome = Outcome(f"a candidate in the gate: {kind}")
    ways = {"wrong": packages.wrong, "two rows": packages.two_rows, KILLED: lambda: packages.provoked("greedy")}
    package = ways.get(kind, lambda: packages.provoked(kind))()
    with (
        memory_group(wanted=kind == KILLED),
        serving(folder, packages["v1"], **QUIET) as (running, url),
        crowd(running, url) as clients,
    ):
        deployed = running.deploy(package, NAME, **{**QUIET, **IN_GATE[kind]})
        end = time.monotonic()
        eventually(lambda: clients.answered(end) > 10, what="answers after the abort")
        outcome.demand(deployed.state is RolloutState.ABORTED, f"it was not aborted: {deployed.state}")
        outcome.facts["reason"] = str(deployed.reason)[:160]
        _demand_end(outcome, running, deployed.revision.number, end)
    if kind == KILLED:
        _demand_name(outcome, folder, str(deployed.reason))
    outcome.demand_none(clients)
    outcome.demand({s.revision for s in clients.sent} == {1}, "the candidate answered a client")
    return outcome


def in_canary(folder: Path, packages: Packages, kind: str) -> Outcome:
    """It passes its proof and goes bad on its share of the traffic: it is aborted by itself."""
    outcome = Outcome(f"a candidate in the canary: {kind}")
    killed = kind == KILLED
    config = {**CANARY, **{KILLED: MAY_GROW, "lying": LIAR}.get(kind, {})}
    with (
        memory_group(wanted=killed),
        serving(folder, packages["v1"], limits=LIMITS, **QUIET) as (running, url),
        crowd(running, url, {"keep-alive": 3, "one-shot": 2}, every_s=0.025) as clients,
    ):
        began = time.monotonic()
        deployed = running.deploy(packages["greedy" if killed else kind], NAME, **config)
        end = time.monotonic()
        eventually(lambda: clients.answered(end + LAST_S) > 20, what="answers after the abort")
        outcome.demand(deployed.state is RolloutState.ABORTED, f"it was not aborted: {deployed.state}")
        outcome.facts |= {"aborted after s": end - began, "reason": str(deployed.reason)[:160]}
        candidate = deployed.revision.number
        _demand_end(outcome, running, candidate, end)
    if killed:
        _demand_name(outcome, folder, str(deployed.reason))
    outcome.demand_none(clients, but_of=candidate)
    spoilt = [s for s in clients.sent if s.revision == candidate and s.fault is not None]
    outcome.facts["spoilt answers"] = len(spoilt)
    share = len(spoilt) / max(1, sum(1 for s in clients.sent if began < s.sent_at < end))
    outcome.demand(share <= 0.3, f"{share:.0%} of the requests were spoilt, where the candidate had 20 %")
    outcome.demand(clients.last_of(candidate) <= end + LAST_S, "the candidate answered after the abort")
    return outcome


def _demand_name(outcome: Outcome, folder: Path, told: str) -> None:
    """The kernel's kill for want of memory is called so, to who deploys and in the ledger."""
    (event,) = (event for event in ledger_events(folder) if event.kind is EventKind.ROLLOUT_ABORTED)
    for where, reason in (("reply", told), ("event", str(event.data["reason"]))):
        named = "ran out of memory" in reason and "in its control group" in reason
        outcome.demand(named, f"the {where} does not name it: {reason}")


def _demand_end(outcome: Outcome, running: Foreground, candidate: int, aborted: float) -> None:
    """No worker of the candidate lives for long after its abort."""
    eventually(lambda: all(worker.revision != candidate for worker in shop(running).workers), what="its end")
    gone_s = time.monotonic() - aborted
    outcome.facts["gone after s"] = gone_s
    outcome.demand(gone_s <= GONE_S, f"the candidate was there {gone_s:.1f} s after its abort")


def after_promotion(folder: Path, packages: Packages, kind: str) -> Outcome:
    """Without a canary it takes all traffic, goes bad, and is gone back from by itself, once, to the warm revision."""
    outcome = Outcome(f"a promoted revision: {kind}")
    with serving(folder, packages["v1"], limits=LIMITS, **QUIET) as (running, url):
        with crowd(running, url, {"keep-alive": 3, "one-shot": 2}, every_s=0.025) as clients:
            eventually(lambda: clients.answered() > 200, what="a window to compare with")
            running.deploy(packages[kind], NAME, gates=GATES, limits=LIMITS)
            promoted = time.monotonic()
            eventually(lambda: shop(running).deployment.active_revision == 3, timeout_s=60, what="the way back")
            back = time.monotonic()
            eventually(lambda: clients.answered(back + LAST_S) > 20, what="answers after the way back")
        outcome.facts["back after s"] = back - promoted
        outcome.demand(shop(running).active.version.startswith("1.0.0"), "it went somewhere else")
    later = [s for s in clients.sent if s.sent_at > back + LAST_S]
    outcome.demand(not [s for s in later if s.fault is not None], "faults after the way back")
    outcome.demand({s.revision for s in later} == {3}, "the bad revision still answers")
    returns = [event for event in ledger_events(folder) if event.kind is EventKind.ROLLOUT_ROLLED_BACK]
    outcome.demand(len(returns) == 1, f"{len(returns)} automatic rollbacks")
    outcome.facts["reason"] = str(returns[0].data.get("reason"))[:160] if returns else "none"
    return outcome
