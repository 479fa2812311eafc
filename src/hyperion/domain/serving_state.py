"""One deployment as its supervisor sees it: its workers, and the rollout that moves it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

from hyperion.domain.action import Action
from hyperion.domain.evidence import Verdict
from hyperion.domain.rollout_plan import RolloutPlan
from hyperion.domain.worker_state import Worker, WorkerState


class RolloutState(StrEnum):
    """PLANNED → (CLEARING) → PROVING → (OPENING → CANARY) → SHIFTING → LEAVING → (BAKING) → PROMOTED.

    Or ABORTED before the promotion is durable, or ROLLED_BACK after.
    """

    PLANNED = "planned"
    CLEARING = "clearing"
    """The old workers leave, so that the host has room for the new ones (``recreate``)."""
    PROVING = "proving"
    OPENING = "opening"
    """The candidates are proven and get ready for forwarded requests."""
    CANARY = "canary"
    """The candidates get a share of the requests."""
    SHIFTING = "shifting"
    """The candidates are told to take traffic; the old workers still take it."""
    LEAVING = "leaving"
    """The decision is durable; the old workers leave traffic."""
    BAKING = "baking"
    """All traffic is the new revision's, and it is watched."""
    PROMOTED = "promoted"
    ABORTED = "aborted"
    ROLLED_BACK = "rolled_back"

    @property
    def words(self) -> str:
        """For people."""
        return self.value.replace("_", " ")


REVERSIBLE = frozenset(
    {
        RolloutState.CLEARING,
        RolloutState.PROVING,
        RolloutState.OPENING,
        RolloutState.CANARY,
        RolloutState.SHIFTING,
    }
)
"""A rollout that fails here is aborted: nothing irrevocable was done."""


@dataclass(frozen=True, slots=True)
class Rollout:
    """Moving a deployment from its active revision to ``revision``.

    Attributes:
        revision: The candidate.
        plan: How.
        stable: The revision that it replaces; None for the first one.
        state: How far it is.
        step: Of the canary, from 0.
        routed: Active workers that have confirmed the step's share.
        is_judged: Whether the gates were told to judge this step, or the watch.
        held: What the gates said when they let the latest step pass.
        reason: Why it was aborted or rolled back.
    """

    revision: int
    plan: RolloutPlan
    stable: int | None = None
    state: RolloutState = RolloutState.PLANNED
    step: int = 0
    routed: frozenset[str] = frozenset()
    is_judged: bool = False
    held: Verdict | None = None
    reason: str | None = None

    @property
    def reversible(self) -> bool:
        return self.state in REVERSIBLE

    @property
    def updating(self) -> bool:
        """Whether workers or traffic still move."""
        return self.reversible or self.state is RolloutState.LEAVING

    @property
    def share(self) -> float:
        """Of the requests, that the candidates are to get as a canary."""
        return self.plan.steps[self.step].share if self.state is RolloutState.CANARY else 0.0


@dataclass(frozen=True, slots=True)
class ServingState:
    """One deployment.

    Attributes:
        active: Revision that receives traffic by default and is kept alive.
        size: Workers of it that should take traffic.
        spare: Whether one more of it should be kept loaded.
        previous: The revision that it goes back to by itself; None where there is none, or it was gone back to.
        rollout: The latest one; None before the first.
        workers: All that live, in the order of their start.
        crashes: Crashes in a row of the active revision's workers, by index.
        stopping: Whether the deployment was told to stop.
        renewing: Indexes of the active revision's workers that a rolling restart has still to replace.
    """

    active: int | None = None
    size: int = 0
    spare: bool = False
    previous: int | None = None
    rollout: Rollout | None = None
    workers: tuple[Worker, ...] = ()
    crashes: tuple[tuple[int, int], ...] = ()
    stopping: bool = False
    renewing: tuple[int, ...] = ()

    @property
    def serving(self) -> bool:
        return any(worker.state is WorkerState.ACCEPTING for worker in self.workers)

    @property
    def updating(self) -> bool:
        return self.rollout is not None and self.rollout.updating

    @property
    def flipping(self) -> bool:
        """Whether traffic moves to workers that were warm: a matter of milliseconds, which nothing is to lengthen."""
        return self.rollout is not None and self.rollout.updating and self.rollout.plan.flips is not None

    @property
    def clearing(self) -> bool:
        """Whether the old workers leave before the new ones start (``recreate``)."""
        return self.rollout is not None and self.rollout.state is RolloutState.CLEARING

    @property
    def watching(self) -> bool:
        return self.rollout is not None and self.rollout.state is RolloutState.BAKING

    @property
    def warm(self) -> int | None:
        """The replaced revision that a flip can bring back."""
        return next((worker.revision for worker in reversed(self.workers) if worker.rests), None)

    def worker(self, name: str) -> Worker | None:
        return next((worker for worker in self.workers if worker.name == name), None)

    def of(self, revision: int | None) -> tuple[Worker, ...]:
        return tuple(worker for worker in self.workers if worker.revision == revision)

    def taking(self, revision: int | None) -> tuple[Worker, ...]:
        """Its workers that take traffic, or were told to."""
        return tuple(worker for worker in self.of(revision) if worker.takes_traffic)

    def accepting(self, revision: int | None) -> tuple[Worker, ...]:
        """Its workers that said that they take traffic."""
        return tuple(worker for worker in self.of(revision) if worker.state is WorkerState.ACCEPTING)

    def put(self, worker: Worker) -> ServingState:
        """With this worker in place of the one of its name."""
        return replace(self, workers=tuple(worker if w.name == worker.name else w for w in self.workers))


Step = tuple[ServingState, tuple[Action, ...]]
"""The next state, and what to do, in order."""


def in_turn(state: ServingState, *steps: Callable[[ServingState], Step]) -> Step:
    """Each step on the state that the one before it left; what is to be done, one after the other."""
    actions: list[Action] = []
    for step in steps:
        state, following = step(state)
        actions += following
    return state, tuple(actions)
