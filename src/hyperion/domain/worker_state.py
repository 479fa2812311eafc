"""Workers as the rollout rules see them: SPAWNED → LOADED → GATED → ACCEPTING → LAME_DUCK → DRAINED → EXITED."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class WorkerState(StrEnum):
    SPAWNED = "spawned"
    LOADED = "loaded"
    GATED = "gated"
    """Warm and proven, not taking traffic."""
    ACCEPTING = "accepting"
    LAME_DUCK = "lame_duck"
    """Finishes what it has, takes no new connection."""
    DRAINED = "drained"
    EXITED = "exited"


@dataclass(frozen=True, slots=True)
class Worker:
    """One process of a revision; ``told`` says that it was told to take traffic and has not yet answered."""

    revision: int
    index: int
    state: WorkerState = WorkerState.SPAWNED
    told: bool = False

    @property
    def name(self) -> str:
        return worker_name(self.revision, self.index)


def worker_name(revision: int, index: int) -> str:
    """``r3-w0``: unique among living workers, the same again after a respawn."""
    return f"r{revision}-w{index}"
