"""What is asked of one rollout: how many workers, by which way, and what follows the promotion."""

from __future__ import annotations

from dataclasses import dataclass

from hyperion.domain.config import DeploymentConfig
from hyperion.domain.rollout_policy import CanaryStep


@dataclass(frozen=True, slots=True)
class RolloutPlan:
    """How a revision comes into service.

    Attributes:
        size: Workers that take traffic.
        spare: Whether one more stays loaded, to take the place of one that dies.
        steps: Of a canary; empty for any other strategy.
        recreate: Whether the old workers leave before the new ones start.
        watch_s: How long the revision is watched after its promotion.
        automatic: Whether a breach, or a crash loop, goes back to the revision that was replaced.
        warm_s: How long the replaced revision stays loaded; 0 ends it at once.
        rescue: Whether it is a way back: then nothing holds it up, and nothing goes back from it by itself.
        flips: The warm revision whose workers it takes over; None where it starts its own.
    """

    size: int = 1
    spare: bool = False
    steps: tuple[CanaryStep, ...] = ()
    recreate: bool = False
    watch_s: float = 0.0
    automatic: bool = True
    warm_s: float = 0.0
    rescue: bool = False
    flips: int | None = None

    @property
    def crew(self) -> int:
        """Workers in all."""
        return self.size + self.spare


def serves_alike(one: DeploymentConfig, other: DeploymentConfig) -> bool:
    """Whether a worker that was started for one config is the one that the other asks for."""
    return _worker_settings(one) == _worker_settings(other)


def _worker_settings(config: DeploymentConfig) -> tuple[object, ...]:
    """What a worker is given at its start and keeps; how many there are, and how traffic moves, is none of it."""
    limits = (config.limits, config.memory, config.drain_timeout_s)
    return (config.serve, config.threads, config.image, config.batching, limits)


def plan_rollout(
    config: DeploymentConfig, *, rescue: bool = False, moves: bool = False, flips: int | None = None
) -> RolloutPlan:
    """The plan that deployment.json describes.

    Args:
        config: Of the new revision.
        rescue: Whether it is a rollback: then all traffic moves at once, unwatched.
        moves: Whether it listens at another address than the active revision: then no request can be forwarded, and
            the replaced one cannot wait at its old address, where nobody would answer.
        flips: The warm revision that it is the same as; None where none is.
    """
    is_canary = config.strategy == "canary" and not (rescue or moves)
    return RolloutPlan(
        size=config.workers,
        spare=config.warm_spare,
        steps=config.canary_steps.steps if is_canary else (),
        recreate=config.strategy == "recreate" and flips is None,
        watch_s=0.0 if rescue else config.gates.watch_s,
        automatic=config.gates.automatic,
        warm_s=0.0 if moves else config.warm_s,
        rescue=rescue,
        flips=flips,
    )
