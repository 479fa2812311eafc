"""Drawing disjoint sets of rows: the same ones for a seed, each class alike, equal rows together."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

SETS = ("calibration", "search", "report")
"""Ranges of activations are found on the first, decisions are made on the second, and the third only tells."""

LARGEST = {"calibration": 500, "search": 1000, "report": 10_000}
"""Rows of each set at most: more would take longer and tell nothing more."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a dataset, as far as drawing needs it.

    Attributes:
        digest: Of its inputs.
        label: Its class; None without labels.
    """

    digest: bytes
    label: Hashable = None


def draw(
    rows: Sequence[Row], shares: Mapping[str, float], seed: int, largest: Mapping[str, int] = LARGEST
) -> dict[str, tuple[int, ...]]:
    """Deal rows out to sets; returns the positions of each set's rows, ascending.

    Rows of equal inputs are one unit, which goes to one set as a whole. The order in which a class is dealt is that of
    SHA-256 over seed and inputs, so it depends neither on the order of files nor on a library's random numbers. The
    report set has a unit of every class, the search set of every class of two: what nobody reports is lost unseen.

    Args:
        rows: All rows.
        shares: Of the sets that are wanted, adding up to 1.
        seed: Another seed, another draw.
        largest: Rows of each set at most, but for classes of a single row.
    """
    units: dict[bytes, list[int]] = {}
    for position, row in enumerate(rows):
        units.setdefault(row.digest, []).append(position)
    classes: dict[Hashable, list[bytes]] = {}
    for digest, positions in units.items():
        classes.setdefault(rows[positions[0]].label, []).append(digest)
    found: dict[str, list[int]] = {name: [] for name in shares}
    scale = _scale(len(rows), shares, largest)
    for members in classes.values():
        ordered = sorted(members, key=lambda digest: sha256(seed.to_bytes(8, "big") + digest).digest())
        for name, dealt in _deal(ordered, {name: share * scale[name] for name, share in shares.items()}):
            found[name] += [position for digest in dealt for position in units[digest]]
    return {name: tuple(sorted(positions)) for name, positions in found.items()}


def _scale(rows: int, shares: Mapping[str, float], largest: Mapping[str, int]) -> dict[str, float]:
    """Which part of its share each set takes, so that none is too large."""
    return {name: min(1.0, largest[name] / (rows * share)) if rows * share else 1.0 for name, share in shares.items()}


def _deal(ordered: Sequence[bytes], wanted: Mapping[str, float]) -> Iterator[tuple[str, Sequence[bytes]]]:
    """The units of one class for each set; the report set is served first, then search, then calibration."""
    start = 0
    for name in reversed(SETS):
        if name not in wanted:
            continue
        least = 0 if name == "calibration" else 1
        count = max(int(wanted[name] * len(ordered) + 0.5), least)
        yield name, ordered[start : start + count]
        start += count
