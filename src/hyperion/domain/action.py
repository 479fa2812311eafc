"""What domain.rollout tells a supervisor to do."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Spawn:
    revision: int
    index: int


@dataclass(frozen=True, slots=True)
class Accept:
    worker: str


@dataclass(frozen=True, slots=True)
class LameDuck:
    worker: str


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
class Promote:
    """Write to the ledger that the revision is active."""

    revision: int


@dataclass(frozen=True, slots=True)
class Abort:
    """Write to the ledger that the rollout was aborted and desired is what is active."""

    revision: int
    reason: str


@dataclass(frozen=True, slots=True)
class Finish:
    """The rollout has come to its end, and what it replaced is gone."""

    revision: int


Action = Spawn | Accept | LameDuck | Kill | RespawnLater | GiveUp | Promote | Abort | Finish
