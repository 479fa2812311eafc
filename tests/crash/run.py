"""make crash: simulated power cuts, kill -9 and failing writes; ends with 1 where a state is neither old nor new.

python -m tests.crash.run [--images N] [--kills N] [--seed N]
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from tests.crash.failures import failures
from tests.crash.kills import kills
from tests.crash.loop import LOOPS
from tests.crash.scenario import LostError
from tests.crash.scenarios import all_scenarios


def shares(count: int, weights: list[int]) -> list[int]:
    """``count`` divided as ``weights`` are, without a rest."""
    ends = [count * sum(weights[:index]) // sum(weights) for index in range(len(weights) + 1)]
    return [end - begin for begin, end in pairwise(ends)]


def counted(states: Iterator[str]) -> tuple[Counter[str], str | None]:
    """How often each state was found; why one was lost, if one was: then it is the last."""
    found: Counter[str] = Counter()
    try:
        for state in states:
            found[state] += 1
    except LostError as lost:
        return found, str(lost)
    return found, None


class Tally:
    """What was found so far."""

    def __init__(self) -> None:
        self.found: Counter[str] = Counter()
        self.lost: list[str] = []

    def add(self, what: str, states: Iterator[str]) -> None:
        """Count the states, and say them in a line."""
        found, lost = counted(states)
        self.found.update(found)
        self.lost.extend([] if lost is None else [lost])
        say(f"{what}: {told(found)}{'' if lost is None else f'; LOST: {lost}'}")

    def close(self, what: str) -> bool:
        """Say the sum; whether nothing was lost."""
        say(f"{what}: {self.found.total() + len(self.lost)} in all: {told(self.found)}; lost {len(self.lost)}\n")
        return not self.lost


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def told(found: Counter[str]) -> str:
    return ", ".join(f"{count} {state}" for state, count in found.most_common())


def main() -> int:
    options = argparse.ArgumentParser(prog="make crash")
    options.add_argument("--images", type=int, default=10_000)
    options.add_argument("--kills", type=int, default=100)
    options.add_argument("--seed", type=int, default=1)
    given = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="hyperion-crash-") as name:
        folder = Path(name)
        whole = [
            power_cuts(folder, given.images, given.seed),
            all_failures(folder),
            all_kills(folder, given.kills, given.seed),
        ]
    return 0 if all(whole) else 1


def power_cuts(folder: Path, images: int, seed: int) -> bool:
    """Images of disks after a power cut, over all scenarios."""
    scenarios, tally = all_scenarios(), Tally()
    say(f"power cuts (seed {seed})")
    for (scenario, _), count in zip(scenarios, shares(images, [weight for _, weight in scenarios]), strict=True):
        tally.add(f"  {scenario.name}", scenario.states(fresh(folder), random.Random(f"{seed} {scenario.name}"), count))
    return tally.close("power cuts, images")


def all_failures(folder: Path) -> bool:
    """Every write and fsync of every scenario refused once."""
    tally = Tally()
    say("writes and fsyncs that fail")
    for scenario, _ in all_scenarios():
        tally.add(f"  {scenario.name}", failures(scenario, fresh(folder)))
    return tally.close("failing calls")


def all_kills(folder: Path, count: int, seed: int) -> bool:
    """Processes killed in the middle of their work."""
    tally = Tally()
    say(f"kill -9 (seed {seed})")
    for kind, times in zip(LOOPS, shares(count, [3, 4, 3]), strict=True):
        tally.add(f"  {kind}", kills(kind, fresh(folder) / kind, random.Random(seed), times))
    return tally.close("kill -9")


def fresh(folder: Path) -> Path:
    """A new folder in ``folder``."""
    return Path(tempfile.mkdtemp(dir=folder))


if __name__ == "__main__":
    sys.exit(main())
