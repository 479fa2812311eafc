"""Wall time of ``hyperion --help``, against starting the same Python to do nothing."""

from __future__ import annotations

import sys

from benchmarks.measure import HYPERION, Figure, Result, median, report, seconds, spread, take_turns


def measure(rounds: int = 15) -> Result:
    """Both commands, in turns, after one unmeasured round that fills the page cache and writes bytecode."""
    ways = {
        "hyperion": lambda: 1000 * seconds([HYPERION, "--help"]),
        "python": lambda: 1000 * seconds([sys.executable, "-c", "pass"]),
    }
    take_turns(ways, 1)
    found = take_turns(ways, rounds)
    figure = Figure(
        "hyperion --help", "ms", median(found["hyperion"]), spread(found["hyperion"]),
        against="python -c pass", reference=median(found["python"]), limit=200,
    )  # fmt: skip
    return Result("help", f"Start of the command line, median of {rounds}", "python -m benchmarks.help_time", (figure,))


if __name__ == "__main__":
    sys.exit(report(measure()))
