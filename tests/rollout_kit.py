"""What tests of the rollout rules are written with."""

from __future__ import annotations

from hyperion.domain.evidence import Evidence, Verdict, VerdictKind
from hyperion.domain.observation import Observation, Reached, Resumed
from hyperion.domain.rollout import advance
from hyperion.domain.rollout_plan import RolloutPlan
from hyperion.domain.rollout_policy import CanaryStep
from hyperion.domain.serving_state import ServingState, Step
from hyperion.domain.worker_state import WorkerState, worker_name

STEPS = (CanaryStep(share=0.05, bake_s=1.0), CanaryStep(share=0.5, bake_s=1.0))


def after(*observations: Observation, state: ServingState | None = None) -> Step:
    """The state after these observations, and the actions of the last."""
    state, actions = state or ServingState(), ()
    for observation in observations:
        state, actions = advance(state, observation)
    return state, actions


def ready(revision: int, size: int = 1) -> list[Observation]:
    """Its workers are proven, and take traffic."""
    gated = [Reached(worker_name(revision, index), WorkerState.GATED) for index in range(size)]
    return [*gated, *(Reached(worker_name(revision, index), WorkerState.ACCEPTING) for index in range(size))]


def serving(size: int = 1, **asked: object) -> ServingState:
    """Revision 1 with ``size`` workers that take traffic."""
    return after(Resumed(1, plan(size, **asked)), *ready(1, size))[0]


def verdict(kind: VerdictKind, reason: str = "p95 3 ms, stable 1 ms") -> Verdict:
    """What the gates say, over figures that nobody looks at."""
    evidence = Evidence.model_construct(bake="canary", elapsed_s=1.0, findings=())
    return Verdict(kind=kind, reason=reason, evidence=evidence)


def plan(size: int = 1, **asked: object) -> RolloutPlan:
    """A plan without a watch and without warmth, but for what is asked."""
    return RolloutPlan(size=size, **asked)  # type: ignore[arg-type]
