"""Which workers that are kept warm a new revision can take over, and the plan of its rollout."""

from __future__ import annotations

from collections.abc import Iterable

from hyperion.domain.config import DeploymentConfig
from hyperion.domain.deployment import Origin, Revision
from hyperion.domain.rollout_plan import RolloutPlan, plan_rollout, serves_alike


def is_twin(warm: Revision, digest: str, config: DeploymentConfig) -> bool:
    """Whether the workers of a revision are what this package and config ask for."""
    return warm.digest == digest and serves_alike(warm.config, config)


def takes_over(revision: Revision, warm: Revision | None) -> bool:
    """Whether the rollout of a revision is a flip: a way back to what is still warm."""
    return warm is not None and revision.origin is Origin.ROLLBACK and is_twin(warm, revision.digest, revision.config)


def plan_of(revision: Revision, warm: Iterable[Revision | None], *, moves: bool) -> RolloutPlan:
    """How a revision comes into service.

    Args:
        revision: The new one.
        warm: Revisions whose workers are kept warm.
        moves: Whether it listens at another address than the active revision.
    """
    twin = next((found for found in warm if found is not None and takes_over(revision, found)), None)
    return plan_rollout(
        revision.config,
        rescue=revision.origin is Origin.ROLLBACK,
        moves=moves,
        flips=None if twin is None else twin.number,
    )
