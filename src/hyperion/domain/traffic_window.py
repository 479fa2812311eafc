"""What the workers of a revision answered in a stretch of time, as far as it says something about the revision."""

from __future__ import annotations

from dataclasses import dataclass, field

from hyperion.domain.latency_profile import LatencyProfile

CLIENT_CAUSES = frozenset(
    {
        "bad_request",
        "not_found",
        "too_large",
        "unauthorized",
        "forbidden",
        "rate_limited",
        "slow_reader",
        "key_expired",
    }
)
"""Failures of the clients' making; a candidate with another signature is a matter of the version step."""
QUANTILE = 0.95


@dataclass(frozen=True, slots=True)
class Window:
    """What one revision's workers answered in a stretch of time."""

    requests: int = 0
    failures: dict[str, int] = field(default_factory=dict)
    latency: LatencyProfile = field(default_factory=LatencyProfile)

    @property
    def judged(self) -> int:
        """Requests that say something about the revision."""
        return max(0, self.requests - sum(self.failures.get(cause, 0) for cause in CLIENT_CAUSES))

    @property
    def errors(self) -> int:
        return sum(count for cause, count in self.failures.items() if cause not in CLIENT_CAUSES)

    @property
    def error_ratio(self) -> float:
        return self.errors / self.judged if self.judged else 0.0

    @property
    def p95_s(self) -> float | None:
        return self.latency.quantile_s(QUANTILE)

    def plus(self, other: Window) -> Window:
        causes = self.failures.keys() | other.failures.keys()
        failures = {cause: self.failures.get(cause, 0) + other.failures.get(cause, 0) for cause in causes}
        return Window(self.requests + other.requests, failures, self.latency.plus(other.latency))

    def minus(self, earlier: Window) -> Window:
        """What was added since ``earlier``; of counters that were made anew, all."""
        if self.requests < earlier.requests:
            return self
        failures = {cause: count - earlier.failures.get(cause, 0) for cause, count in self.failures.items()}
        latency = self.latency.minus(earlier.latency)
        return Window(self.requests - earlier.requests, {c: n for c, n in failures.items() if n > 0}, latency)


@dataclass(frozen=True, slots=True)
class Sight:
    """What was answered from the begin of the bake until ``elapsed_s``; after promotion ``stable`` is empty."""

    elapsed_s: float
    candidate: Window
    stable: Window = Window()
