"""What a supervisor observes of a deployment's workers; domain.rollout says what follows."""

from __future__ import annotations

from dataclasses import dataclass

from hyperion.domain.evidence import Verdict
from hyperion.domain.rollout_plan import RolloutPlan
from hyperion.domain.worker_state import Worker, WorkerState


@dataclass(frozen=True, slots=True)
class Resumed:
    """A supervisor starts and finds this revision active in the ledger.

    Attributes:
        revision: The active one.
        plan: What its config asks for.
        replaced: The revision that it replaced: its warm workers stay, and it may go back to it by itself; None where
            it is the first.
        adopted: Workers of any revision that an earlier supervisor started and that still live.
        watch_s: For how long the revision is still to be watched; 0 for no longer.
        leaves: Why an earlier supervisor began to go back from it; None where it did not.
    """

    revision: int
    plan: RolloutPlan
    replaced: int | None = None
    adopted: tuple[Worker, ...] = ()
    watch_s: float = 0.0
    leaves: str | None = None


@dataclass(frozen=True, slots=True)
class RolloutAsked:
    """A new revision is desired, durably."""

    revision: int
    plan: RolloutPlan


@dataclass(frozen=True, slots=True)
class Reached:
    """A worker reports that it reached LOADED, GATED, CANARY, ACCEPTING, LAME_DUCK, DRAINED or WARM.

    LAME_DUCK says of a worker that rests, too, that it has left traffic.
    """

    worker: str
    state: WorkerState


@dataclass(frozen=True, slots=True)
class Routed:
    """A worker forwards this share of its requests to the revision from now on."""

    worker: str
    revision: int
    share: float


@dataclass(frozen=True, slots=True)
class Judged:
    """The gates on the candidate: *pass* when its step of the canary, or the watch, is over and they hold."""

    verdict: Verdict


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
class WarmthOver:
    """The replaced revision was kept warm for as long as it should be."""

    revision: int


@dataclass(frozen=True, slots=True)
class StepWritten:
    """Answers WriteStep, before anything else is observed."""


@dataclass(frozen=True, slots=True)
class PromotionWritten:
    """Answers Promote, before anything else is observed."""


@dataclass(frozen=True, slots=True)
class WriteRefused:
    """Answers WriteStep or Promote where the ledger could not be written."""

    reason: str


@dataclass(frozen=True, slots=True)
class RestartAsked:
    """Every worker is to be replaced by a fresh one of the same revision."""


@dataclass(frozen=True, slots=True)
class RecallAsked:
    """Somebody wants to go back, and does not wait for a candidate that is still proven or tried."""

    reason: str


@dataclass(frozen=True, slots=True)
class StopAsked:
    reason: str = "the deployment was stopped"


Observation = (
    Resumed
    | RolloutAsked
    | Reached
    | Routed
    | Judged
    | Failed
    | Exited
    | RespawnDue
    | WarmthOver
    | StepWritten
    | PromotionWritten
    | WriteRefused
    | RestartAsked
    | RecallAsked
    | StopAsked
)
