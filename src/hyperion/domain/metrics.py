"""Figures: latency histograms, what a deployment did so far, and the metrics.json document."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from hyperion.domain.document import Digest, Document, JsonValue

LATENCY_BOUNDS_S: tuple[float, ...] = (
    0.0005, 0.001, 0.0025, 0.005, 0.0075, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 10.0,
)  # fmt: skip
"""Upper bounds of the latency buckets in seconds; one more bucket holds what is slower."""

BATCH_BOUNDS = (1, 2, 4, 8, 16, 32)
"""Upper bounds of the buckets for how many requests a run of the engine answered."""

ERROR_CAUSES = (
    "bad_request", "not_found", "too_large", "timeout", "overloaded", "engine", "non_finite_output", "internal",
    "invalid_output", "unauthorized", "forbidden", "rate_limited", "slow_reader", "key_expired",
)  # fmt: skip
"""Why a request failed; a closed set, so that metrics have bounded labels.

``invalid_output`` is NaN or infinity in an output that is finite in all golden requests; ``non_finite_output`` is the
same where no golden request says that it should be finite.
"""


class Histogram(Document):
    """Counts per bucket of LATENCY_BOUNDS_S (not cumulative; the last is overflow) and the sum of all values."""

    counts: tuple[int, ...] = (0,) * (len(LATENCY_BOUNDS_S) + 1)
    sum_s: float = 0.0

    @property
    def total(self) -> int:
        return sum(self.counts)

    def plus(self, other: Histogram) -> Histogram:
        counts = tuple(a + b for a, b in zip(self.counts, other.counts, strict=True))
        return Histogram(counts=counts, sum_s=self.sum_s + other.sum_s)

    def minus(self, earlier: Histogram) -> Histogram:
        """What was added since ``earlier``; counts that went backwards (a restart) count as new."""
        pairs = zip(self.counts, earlier.counts, strict=True)
        if any(now < before for now, before in pairs):
            return self
        counts = tuple(a - b for a, b in zip(self.counts, earlier.counts, strict=True))
        return Histogram(counts=counts, sum_s=max(0.0, self.sum_s - earlier.sum_s))

    def quantile_ms(self, q: float) -> float | None:
        """The ``q`` quantile in milliseconds by linear interpolation within its bucket; None without samples.

        The method is Prometheus' histogram_quantile; values beyond the last bound are reported as that bound.
        """
        total = self.total
        if total == 0:
            return None
        rank, seen = q * total, 0
        for index, count in enumerate(self.counts[:-1]):
            if count and seen + count >= rank:
                low = LATENCY_BOUNDS_S[index - 1] if index else 0.0
                return 1000 * (low + (LATENCY_BOUNDS_S[index] - low) * (rank - seen) / count)
            seen += count
        return 1000 * LATENCY_BOUNDS_S[-1]


def percentile(values: Sequence[float], q: float) -> float | None:
    """The ``q`` quantile (0-1) of measured values by linear interpolation; None without values."""
    if not values:
        return None
    ordered = sorted(values)
    position = q * (len(ordered) - 1)
    low = int(position)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (position - low)


class WorkerFigures(Document):
    """One worker, as it is now."""

    worker: str
    pid: int
    revision: int
    state: str
    inflight: int
    resident_bytes: int | None
    cpu_s: float | None
    started_at: datetime


class ServingFigures(Document):
    """What a deployment did since its counters began, summed over the workers of its active revision.

    Counters only grow; two snapshots give rates.
    """

    deployment: str
    model: str
    version: str
    revision: int
    digest: Digest
    at: datetime
    uptime_s: float
    workers: tuple[WorkerFigures, ...]
    requests: int
    """Inference requests answered, whatever the status."""
    failures: dict[str, int]
    """Failed requests by cause (ERROR_CAUSES); causes that never happened are left out."""
    latency: Histogram
    """Whole request in the worker, from complete request to answer."""
    received_bytes: int
    sent_bytes: int


class WindowFigures(Document):
    """What a deployment's active revision did in a window of time."""

    deployment: str
    model: str
    version: str
    revision: int
    digest: Digest
    measured_at: datetime
    window_s: float
    """Length of the window that rates and percentiles are over; the first one begins when the revision was made."""
    figures: dict[str, JsonValue]
    """See docs/reference/metrics.md; a figure without samples is null."""
    unavailable: dict[str, str] = {}
    """Why a figure is null."""


class MetricsDocument(WindowFigures):
    """metrics.json: the figures of ``monitor model``."""

    format: Literal["hyperion.metrics"] = "hyperion.metrics"
    """Marks the file as ours; ``monitor`` overwrites no other."""
    format_version: int = 1


class MonitorRound(WindowFigures):
    """What one round of ``monitor performance`` or ``monitor resources`` measured."""

    kind: Literal["performance", "resources"]


class ErrorLine(Document):
    """One error of a deployment, as ``monitor errors`` appends it to its log."""

    format: Literal["hyperion.error"] = "hyperion.error"
    """Marks the line as ours; ``monitor errors`` appends to no other file."""
    at: str | None
    """RFC 3339; None where the line that told of it has no time."""
    cause: str
    """One of ERROR_CAUSES, ``worker_exited``, ``workers_gave_up``, ``rollout_aborted``, ``log`` or ``stderr``."""
    message: str
    deployment: str
    revision: int | None = None
    worker: str | None = None
    request_id: str | None = None
    status: int | None = None
    """HTTP status that the client got."""
    suppressed: int | None = None
    """Errors before this one that were only counted, since there were too many in one second."""
    cursor: str
    """Where a later ``monitor errors`` on the same file goes on."""


class ErrorRound(Document):
    """What one round of ``monitor errors`` found."""

    kind: Literal["errors"] = "errors"
    deployment: str
    measured_at: datetime
    window_s: float | None
    """Since the round before; None for the first, which tells all that was not told yet."""
    by_cause: dict[str, int]
    errors: tuple[ErrorLine, ...]
