"""Workers as the rollout rules see them.

SPAWNED → LOADED → GATED → (CANARY) → ACCEPTING → LAME_DUCK → DRAINED → EXITED, and ACCEPTING → RESTING → WARM, from
where a flip leads back to ACCEPTING.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class WorkerState(StrEnum):
    SPAWNED = "spawned"
    LOADED = "loaded"
    GATED = "gated"
    """Loaded and proven, not taking traffic: a candidate, or a spare."""
    CANARY = "canary"
    """Answers what other workers forward to it, takes no connection itself."""
    ACCEPTING = "accepting"
    LAME_DUCK = "lame_duck"
    """Finishes what it has, takes no new connection, then exits."""
    DRAINED = "drained"
    RESTING = "resting"
    """Finishes what it has, takes no new connection, and stays."""
    WARM = "warm"
    """It rested: loaded and proven, without a connection, ready to be flipped back."""
    EXITED = "exited"


@dataclass(frozen=True, slots=True)
class Worker:
    """One process of a revision; ``told`` says that it was told to take or leave traffic and has not yet answered."""

    revision: int
    index: int
    state: WorkerState = WorkerState.SPAWNED
    told: bool = False

    @property
    def name(self) -> str:
        return worker_name(self.revision, self.index)

    @property
    def takes_traffic(self) -> bool:
        """Whether it accepts connections, or was told to."""
        return self.state is WorkerState.ACCEPTING or (
            self.told and self.state in (WorkerState.GATED, WorkerState.CANARY)
        )

    @property
    def leaves(self) -> bool:
        """Whether it was told to end."""
        return self.state in (WorkerState.LAME_DUCK, WorkerState.DRAINED)

    @property
    def rests(self) -> bool:
        """Whether a flip can bring it back."""
        return self.state in (WorkerState.RESTING, WorkerState.WARM)


def worker_name(revision: int, index: int) -> str:
    """``r3-w0``: unique among living workers, the same again after a respawn."""
    return f"r{revision}-w{index}"
