"""Latencies in fine buckets: close enough to compare two revisions by, small enough to count every request into.

The buckets of /metrics (domain.metrics.LATENCY_BOUNDS_S) are up to 2.5 apart: a p95 that moves across one of their
bounds would look two and a half times as long. These are at most 1.125 apart. The layout is that of HdrHistogram
(https://hdrhistogram.github.io/HdrHistogram/): each power of two is cut into the same number of equal buckets, so that
the place of a value is three shifts away.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from itertools import accumulate

FIRST_OCTAVE = 16
"""Everything under 2 ** 16 ns, 65 µs, counts as that."""
OCTAVES = 17
"""What takes 2 ** 33 ns, 8.6 s, or longer counts in the last bucket."""
STEPS_LOG2 = 3
BUCKETS = OCTAVES << STEPS_LOG2
STEP = 1 + 1 / (1 << STEPS_LOG2)
"""The widest bucket's upper bound by its lower one: what the profile cannot tell apart."""


def bucket_of(latency_ns: int) -> int:
    """Where a latency counts, from 0 to BUCKETS - 1."""
    octave = latency_ns.bit_length() - 1
    if octave < FIRST_OCTAVE:
        return 0
    if octave >= FIRST_OCTAVE + OCTAVES:
        return BUCKETS - 1
    step = (latency_ns >> (octave - STEPS_LOG2)) & ((1 << STEPS_LOG2) - 1)
    return (octave - FIRST_OCTAVE << STEPS_LOG2) | step


def lower_bound_s(bucket: int) -> float:
    """The shortest latency of a bucket; that of BUCKETS is where the last one ends."""
    octave, step = divmod(bucket, 1 << STEPS_LOG2)
    return ((1 << STEPS_LOG2) + step << octave + FIRST_OCTAVE - STEPS_LOG2) / 1e9


_EDGES_S = tuple(lower_bound_s(bucket) for bucket in range(BUCKETS + 1))


@dataclass(frozen=True, slots=True)
class LatencyProfile:
    """How many requests took how long; within a bucket they count as spread evenly."""

    counts: tuple[int, ...] = (0,) * BUCKETS

    @property
    def total(self) -> int:
        return sum(self.counts)

    def plus(self, other: LatencyProfile) -> LatencyProfile:
        return LatencyProfile(tuple(map(int.__add__, self.counts, other.counts)))

    def minus(self, earlier: LatencyProfile) -> LatencyProfile:
        """What was added since ``earlier``; counts that went backwards (a file made anew) count as new."""
        counts = tuple(map(int.__sub__, self.counts, earlier.counts))
        return self if min(counts) < 0 else LatencyProfile(counts)

    def quantile_s(self, q: float) -> float | None:
        """The ``q`` quantile (above 0) in seconds; None without samples."""
        below = tuple(accumulate(self.counts))
        wanted = q * below[-1]
        if not below[-1]:
            return None
        bucket = bisect_left(below, wanted)
        low, high, count = _EDGES_S[bucket], _EDGES_S[bucket + 1], self.counts[bucket]
        return high - (high - low) * (below[bucket] - wanted) / count

    def cumulative(self) -> Cumulative:
        """The share of requests below any latency; for many questions about one profile."""
        return Cumulative((0, *accumulate(self.counts)))


@dataclass(frozen=True, slots=True)
class Cumulative:
    """A profile as a distribution: ``below[i]`` requests took less than lower_bound_s(i)."""

    below: tuple[int, ...]

    def share_under(self, latency_s: float) -> float:
        """Of the requests, 0 to 1; the profile must have some."""
        bucket = bucket_of(int(latency_s * 1e9))
        low, high = _EDGES_S[bucket], _EDGES_S[bucket + 1]
        within = min(1.0, max(0.0, (latency_s - low) / (high - low)))
        start, end = self.below[bucket], self.below[bucket + 1]
        return (start + (end - start) * within) / self.below[-1]
