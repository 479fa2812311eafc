"""What a supervisor observes of a deployment's workers; domain.rollout says what follows."""

from __future__ import annotations

from dataclasses import dataclass

from hyperion.domain.worker_state import WorkerState


@dataclass(frozen=True, slots=True)
class Resumed:
    """A supervisor starts and finds this revision active in the ledger."""

    revision: int
    size: int


@dataclass(frozen=True, slots=True)
class RolloutAsked:
    """A new revision is desired, durably."""

    revision: int
    size: int


@dataclass(frozen=True, slots=True)
class Reached:
    """A worker reports that it reached LOADED, GATED, ACCEPTING, LAME_DUCK or DRAINED."""

    worker: str
    state: WorkerState


@dataclass(frozen=True, slots=True)
class Failed:
    """A worker's proof failed, or it missed its deadline."""

    worker: str
    reason: str


@dataclass(frozen=True, slots=True)
class Exited:
    """A worker is gone. ``accepted_s`` is for how long it had taken traffic."""

    worker: str
    reason: str
    accepted_s: float = 0.0


@dataclass(frozen=True, slots=True)
class RespawnDue:
    revision: int
    index: int


@dataclass(frozen=True, slots=True)
class PromotionWritten:
    """Answers Promote, before anything else is observed."""


@dataclass(frozen=True, slots=True)
class PromotionRefused:
    """Answers Promote where the ledger could not be written."""

    reason: str


@dataclass(frozen=True, slots=True)
class StopAsked:
    reason: str = "the deployment was stopped"


Observation = (
    Resumed | RolloutAsked | Reached | Failed | Exited | RespawnDue | PromotionWritten | PromotionRefused | StopAsked
)
