"""Measuring in turns, and settling on one value: the median of 5, or the minimum of 7 where the machine is noisy."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure import Figure, median, spread, take_turns

ROUNDS, MORE_ROUNDS = 5, 7
NOISE = 0.3
"""(largest - smallest) / median above which the minimum of 7 counts."""


@dataclass(frozen=True)
class Timing:
    """One way of doing something.

    Attributes:
        seconds: The value that counts.
        spread: Smallest and largest.
        how: ``median of 5`` or ``minimum of 7``.
    """

    seconds: float
    spread: tuple[float, float]
    how: str
    at_least: bool = False
    """Whether it was stopped at its time limit."""


def measured(ways: Mapping[str, Callable[[], float]], times: int = 1, *, warm: bool = False) -> dict[str, Timing]:
    """Each way in turns, after one round that is thrown away; both sides of every ratio are settled alike.

    Args:
        ways: By name; each gives the seconds of one run.
        times: How often as many rounds as usual, for what takes milliseconds.
        warm: Whether every way has been run already.
    """
    if not warm:
        take_turns(ways, 1)
    found = take_turns(ways, times * ROUNDS)
    if any(noise(values) > NOISE for values in found.values()):
        more = take_turns(ways, times * (MORE_ROUNDS - ROUNDS))
        return {name: settled([*values, *more[name]], noisy=True) for name, values in found.items()}
    return {name: settled(values, noisy=False) for name, values in found.items()}


def settled(values: Sequence[float], *, noisy: bool) -> Timing:
    value, word = (min(values), "minimum") if noisy else (median(values), "median")
    return Timing(value, spread(values), f"{word} of {len(values)}")


def noise(values: Sequence[float]) -> float:
    return (max(values) - min(values)) / median(values)


def figure(
    key: str, title: str, ours: Timing, against: str, reference: Timing, *,
    bar: float | None = None, unit: str = "s", note: str = "",
) -> Figure:  # fmt: skip
    """A row with a ratio; ``unit`` is ``s`` or ``ms``."""
    scale = {"s": 1.0, "ms": 1000.0}[unit]
    low, high = ours.spread
    return Figure(
        title, unit, scale * ours.seconds, (scale * low, scale * high), against, scale * reference.seconds,
        key=key, bar=bar, at_least=reference.at_least, note=f"{ours.how.capitalize()}. {note}".strip(),
    )  # fmt: skip


def fresh(*paths: Path) -> None:
    """Remove what an earlier measurement wrote and let the disk come to rest, so that every way begins alike."""
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    os.sync()
