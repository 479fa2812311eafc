"""What domain.rollout tells a supervisor to do."""

from __future__ import annotations

from dataclasses import dataclass

from hyperion.domain.evidence import Verdict


@dataclass(frozen=True, slots=True)
class Spawn:
    revision: int
    index: int


@dataclass(frozen=True, slots=True)
class Accept:
    worker: str


@dataclass(frozen=True, slots=True)
class Flip:
    """A warm worker takes traffic again, as worker ``index`` of another revision."""

    worker: str
    revision: int
    index: int


@dataclass(frozen=True, slots=True)
class OpenFrames:
    """A candidate answers what other workers forward to it."""

    worker: str


@dataclass(frozen=True, slots=True)
class Route:
    """A worker forwards this share of its requests to the candidate; 0 ends it."""

    worker: str
    revision: int
    share: float


@dataclass(frozen=True, slots=True)
class LameDuck:
    worker: str
    frames_only: bool = False
    """Whether all that it ever answered came from other workers, which answer themselves where it does not."""


@dataclass(frozen=True, slots=True)
class Rest:
    """As LameDuck, but the worker stays loaded."""

    worker: str


@dataclass(frozen=True, slots=True)
class KeepWarm:
    """Say WarmthOver of the revision after so many seconds."""

    revision: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Kill:
    worker: str


@dataclass(frozen=True, slots=True)
class RespawnLater:
    revision: int
    index: int
    delay_s: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """A worker crashed too often; its slot stays empty until the next rollout or start."""

    worker: str
    crashes: int
    reason: str


@dataclass(frozen=True, slots=True)
class WriteStep:
    """Write to the ledger that the canary gets this share."""

    revision: int
    step: int
    share: float


@dataclass(frozen=True, slots=True)
class Judge:
    """From now on, hold the candidate against the stable revision, and say Judged once a second."""

    revision: int
    stable: int


@dataclass(frozen=True, slots=True)
class Promote:
    """Write to the ledger that the revision is active."""

    revision: int


@dataclass(frozen=True, slots=True)
class Abort:
    """Write to the ledger that the rollout was aborted and desired is what is active."""

    revision: int
    reason: str
    verdict: Verdict | None = None
    """What decided, where the gates did."""


@dataclass(frozen=True, slots=True)
class Shifted:
    """All traffic is the revision's; what it replaced has left traffic."""

    revision: int


@dataclass(frozen=True, slots=True)
class GoBack:
    """Write down why, make a revision like ``to``, and roll it out: a rescue that nobody asked for."""

    revision: int
    to: int
    reason: str
    verdict: Verdict | None = None


@dataclass(frozen=True, slots=True)
class Alert:
    """The revision breaks its gates, and nothing goes back by itself."""

    revision: int
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Finish:
    """The rollout has come to its end."""

    revision: int
    note: str | None = None
    """What became of its watch; None where it was not watched."""
    verdict: Verdict | None = None
    """What the gates said at its end; None where they were not asked."""


Order = Spawn | Accept | Flip | OpenFrames | Route | LameDuck | Rest | Kill
"""What a worker is told, or done to."""

Action = (
    Order | KeepWarm | RespawnLater | GiveUp | WriteStep | Judge | Promote | Abort | Shifted | GoBack | Alert | Finish
)
