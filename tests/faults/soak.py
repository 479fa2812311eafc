"""Half an hour at 80 % of capacity with a swap every minute (``make soak``): nothing fails and no memory grows.

SOAK_MINUTES (30) says how long; SOAK_SWAP_S (60) how often.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

from tests.faults.crowd import Crowd
from tests.faults.stage import NAME, QUIET, Outcome, Packages, questions, serving, shop
from tests.serving_kit import Foreground

CLIENTS = 8
CAPACITY_S = 10.0
SHARE = 0.8
GROWTH_SHARE, GROWTH_MB = 0.10, 16.0
"""Between the second and the last quarter of the soak, medians; what is more is growth."""
MIB = 2**20


def main() -> int:
    minutes, swap_s = float(os.environ.get("SOAK_MINUTES", "30")), float(os.environ.get("SOAK_SWAP_S", "60"))
    with tempfile.TemporaryDirectory(prefix="hyperion-soak-") as folder:
        outcome = soak(Path(folder), minutes, swap_s)
    print(outcome.line())
    return 1 if outcome.faults else 0


def soak(folder: Path, minutes: float, swap_s: float) -> Outcome:
    """Measure what the host can, then load it with less and swap."""
    outcome = Outcome(f"{minutes:g} minutes with a swap every {swap_s:g} s")
    packages = Packages(folder)
    (folder / "state").mkdir()
    small, large = questions()
    samples: dict[str, list[float]] = {"supervisor": [], "workers": []}
    pause = threading.Event()
    with serving(folder / "state", packages["v1"], **QUIET) as (running, url):
        with Crowd(url, NAME, small, large, {"keep-alive": CLIENTS}, every_s=0.0) as rush:
            pause.wait(CAPACITY_S)
        capacity = rush.answered() / CAPACITY_S
        every_s = CLIENTS / (SHARE * capacity)
        outcome.facts["capacity per s"] = capacity
        with Crowd(url, NAME, small, large, {"keep-alive": CLIENTS - 2, "one-shot": 2}, every_s) as clients:
            began, number = time.monotonic(), 0
            while (until := began + swap_s * (number + 1)) <= began + minutes * 60:
                number += 1
                deployed = running.deploy(packages[("v1", "v2")[number % 2]], NAME, **QUIET)
                outcome.demand(deployed.promoted, f"swap {number}: {deployed.reason}")
                pause.wait(max(0.0, until - time.monotonic()))
                _sample(running, samples)
                print(f"minute {(time.monotonic() - began) / 60:.1f}: {len(clients.sent)} requests, "
                      f"{clients.faults().total()} failed, {_latest(samples)}", flush=True)  # fmt: skip
            spent = time.monotonic() - began
        per_s = clients.answered() / spent
        outcome.facts |= {"per s": per_s, "share of capacity": per_s / capacity, "swaps": number}
        outcome.demand_none(clients)
    for who, found in samples.items():
        _demand_flat(outcome, who, found)
    return outcome


def _sample(running: Foreground, samples: dict[str, list[float]]) -> None:
    """Resident MiB of the supervisor, and of the accepting workers together."""
    samples["supervisor"].append(_resident_mb(running.process.pid))
    accepting = [worker.pid for worker in shop(running).workers if worker.state == "accepting"]
    samples["workers"].append(sum(map(_resident_mb, accepting)))


def _resident_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / MIB


def _latest(samples: dict[str, list[float]]) -> str:
    return ", ".join(f"{who} {found[-1]:.1f} MiB" for who, found in samples.items())


def _demand_flat(outcome: Outcome, who: str, found: list[float]) -> None:
    if len(found) < 4:
        outcome.facts[f"{who} MiB"] = f"{found} (too few to judge)"
        return
    quarter = len(found) // 4
    early, late = statistics.median(found[quarter : 2 * quarter]), statistics.median(found[-quarter:])
    outcome.facts[f"{who} MiB"] = f"{early:.1f} to {late:.1f}"
    outcome.demand(
        late - early <= max(GROWTH_MB, GROWTH_SHARE * early), f"{who} grew from {early:.1f} to {late:.1f} MiB"
    )


if __name__ == "__main__":
    sys.exit(main())
