"""The whole suite of faults (``make faults``): every scenario, one line each, and a line of counts.

python -m tests.faults [--swaps 100] [WORD ...]     only the scenarios whose names hold one of the words
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults import bad_candidates, hosts, kills, swaps
from tests.faults.stage import Outcome, Packages

Scenario = Callable[[Path, Packages], Outcome]


def scenarios(count: int) -> Iterator[tuple[str, Scenario]]:
    """All, with names to choose them by; ``count`` swaps and rollbacks each."""
    for workers in (1, 2, 4):
        yield f"swaps {workers}", lambda f, p, n=workers: swaps.swaps(f, p, count, workers=n)
    yield "swaps slow", lambda f, p: swaps.swaps(f, p, max(2, count // 10), slow=True)
    yield "rollbacks", lambda f, p: swaps.rollbacks(f, p, count)
    yield "rollbacks 2", lambda f, p: swaps.rollbacks(f, p, max(2, count // 5), workers=2)
    yield "kill worker", lambda f, p: kills.worker(f, p, 3, spare=False)
    yield "kill worker spare", lambda f, p: kills.worker(f, p, 3, spare=True)
    yield "kill stopped", kills.stopped
    yield "kill both", kills.both
    yield "fresh supervisor", lambda f, p: kills.gives_way(f, p, 10)
    for edge in kills.EDGES:
        yield f"kill supervisor {edge}", lambda f, p, e=edge: kills.supervisor_at(f, p, e)
    for flip in kills.FLIPS:
        yield f"kill supervisor {flip}", lambda f, p, n=flip: kills.supervisor_in(f, p, n)
    for kind in bad_candidates.IN_GATE:
        yield f"gate {kind}", lambda f, p, k=kind: bad_candidates.in_gate(f, p, k)
    for kind in bad_candidates.IN_CANARY:
        yield f"canary {kind}", lambda f, p, k=kind: bad_candidates.in_canary(f, p, k)
    for kind in ("crashing", "nan", "slow"):
        yield f"promoted {kind}", lambda f, p, k=kind: bad_candidates.after_promotion(f, p, k)
    yield "host queue", hosts.queued_connections
    yield "host disk full", hosts.disk_full
    yield "host read-only", hosts.read_only
    yield "host rotten blob", hosts.rotten_blob
    yield "host two deploys", hosts.two_deploys
    yield "host descriptors", hosts.no_descriptors
    yield "host clock", hosts.clock_jump


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults")
    parser.add_argument("--swaps", type=int, default=100)
    parser.add_argument("words", nargs="*")
    options = parser.parse_args()
    chosen = [
        (name, run)
        for name, run in scenarios(options.swaps)
        if not options.words or any(word in name for word in options.words)
    ]
    began, held, failed, skipped, requests = time.monotonic(), 0, [], [], 0
    with tempfile.TemporaryDirectory(prefix="hyperion-faults-") as folder:
        packages = Packages(Path(folder))
        for number, (name, run) in enumerate(chosen):
            started = time.monotonic()
            outcome = _outcome(name, run, Path(folder, str(number)), packages)
            if outcome is None:
                skipped.append(name)
                continue
            print(f"{name:24} {time.monotonic() - started:5.0f} s  {outcome.line()}", flush=True)
            held, failed = held + (not outcome.faults), failed + [name] * bool(outcome.faults)
            requests += int(outcome.facts.get("requests", 0))
    minutes = (time.monotonic() - began) / 60
    print(
        f"{held} of {len(chosen)} scenarios held, {len(failed)} failed, {len(skipped)} skipped; "
        f"{requests} requests checked in {minutes:.1f} minutes"
        + (f"; failed: {', '.join(failed)}" if failed else "")
        + (f"; skipped: {', '.join(skipped)}" if skipped else "")
    )
    return 1 if failed else 0


def _outcome(name: str, run: Scenario, folder: Path, packages: Packages) -> Outcome | None:
    """None where this machine cannot show it."""
    folder.mkdir()
    try:
        return run(folder, packages)
    except pytest.skip.Exception as skip:
        print(f"{name:24}          skipped: {skip}", flush=True)
        return None
    except Exception as error:  # noqa: BLE001  (a scenario that breaks is a fault, and the next ones run)
        traceback.print_exc()
        return Outcome(name, [f"{type(error).__name__}: {error}"])


if __name__ == "__main__":
    sys.exit(main())
