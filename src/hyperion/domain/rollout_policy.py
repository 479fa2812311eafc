"""How a rollout moves traffic, and what it must show on the way (``canary`` and ``gates`` of deployment.json)."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, field_validator

from hyperion.domain.document import Document

Strategy = Literal["blue-green", "canary", "recreate"]

DEFAULT_KEEP_WARM_S = 600.0
"""A replaced revision stays loaded for so long, where nothing else is said and the strategy can."""


def patience_s(request_timeout_s: float) -> float:
    """How long a candidate's answer is waited for: the stable revision must still have time for its own."""
    return request_timeout_s / 2


class CanaryStep(Document):
    """A share of the requests, and for how long the gates must hold at it."""

    share: Annotated[float, Field(gt=0, lt=1)]
    """Of the requests, 0–1."""
    bake_s: Annotated[float, Field(gt=0, le=86_400)] = 60.0


class Canary(Document):
    """The steps of a canary, smallest share first; after the last one the candidate is promoted."""

    steps: Annotated[tuple[CanaryStep, ...], Field(min_length=1, max_length=20)] = (
        CanaryStep(share=0.05),
        CanaryStep(share=0.25),
    )
    sticky_header: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{1,64}$")] | None = None
    """Requests with the same value of this header stay with the same revision; None decides each by itself."""

    @field_validator("steps")
    @classmethod
    def _growing(cls, steps: tuple[CanaryStep, ...]) -> tuple[CanaryStep, ...]:
        if any(after.share <= before.share for before, after in pairwise(steps)):
            raise ValueError("expected shares that grow from step to step")
        return steps


class Gates(Document):
    """What a candidate must show: before traffic, during a canary's steps, and for ``watch_s`` after promotion.

    Errors are compared by a one-sided two-proportion test and latency by a bootstrap of the p95 ratio, both at α = 0.01
    over the whole rollout, and only what is also worse by more than its floor counts.
    """

    p99_ms: Annotated[float, Field(gt=0)] | None = None
    """Most milliseconds that 99 % of a candidate's warm runs may take before it takes traffic; None for no limit."""
    watch_s: Annotated[float, Field(ge=0, le=86_400)] = 60.0
    """How long a promoted revision is watched, and returned from by itself; 0 watches nothing."""
    min_samples: Annotated[int, Field(ge=10, le=1_000_000)] = 100
    """Requests of either revision below which a bake compares nothing: a canary holds, a watch ends undecided."""
    deadline_s: Annotated[float, Field(gt=0, le=604_800)] = 3600.0
    """For how long a canary's step may hold for want of samples; then the rollout is aborted. Any other value is
    refused with a strategy that has no steps."""
    error_floor: Annotated[float, Field(ge=0, le=1)] = 0.005
    """Share of errors beyond the stable revision's that is let pass, 0–1."""
    latency_floor: Annotated[float, Field(ge=1.15, le=100)] = 1.25
    """Ratio of p95 latencies, candidate to stable, that is let pass; latencies are counted in steps of up to 12.5 %."""
    memory_growth_mb: Annotated[int, Field(ge=1)] = 256
    """How much a candidate's worker may grow beyond its memory after warm-up, in MiB."""
    golden_replay_s: Annotated[float, Field(ge=0, le=3600)] = 10.0
    """Pause between replays of the golden requests on the candidate; 0 replays none."""
    automatic: bool = True
    """Whether a breach after promotion goes back by itself; else it only alerts."""

    @property
    def idle_without_bake(self) -> tuple[str, ...]:
        """Keys with a value of their own that only a bake asks for: a canary's step, or the watch."""
        usual = Gates()
        asked = ("min_samples", "error_floor", "latency_floor", "memory_growth_mb", "golden_replay_s")
        return tuple(f"gates.{name}" for name in asked if getattr(self, name) != getattr(usual, name))
