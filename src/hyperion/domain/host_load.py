"""What all deployments of a host may take of it together: memory by their budgets, cores by their threads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hyperion.domain.config import DeploymentConfig

MIB = 1024**2


@dataclass(frozen=True, slots=True)
class Claim:
    """What the workers of one revision may take.

    Attributes:
        deployment: Whose they are.
        what: Which they are, in words.
        threads: Of the engine, in all workers together.
        memory_bytes: Of all workers together: each one's budget; None where nothing says.
        rests: Whether they are only kept warm: then they take memory and no processor.
    """

    deployment: str
    what: str
    threads: int
    memory_bytes: int | None
    rests: bool = False

    def __str__(self) -> str:
        memory = "no budget" if self.memory_bytes is None else f"{self.memory_bytes / MIB:.0f} MiB"
        return f"{self.deployment} ({self.what}) {memory}"


def claim_of(config: DeploymentConfig, what: str, *, measured_bytes: int | None = None, rests: bool = False) -> Claim:
    """The claim of a revision with this config, whose ``name`` is set.

    Args:
        config: Complete.
        what: Which revision it is, in words.
        measured_bytes: What a process that runs the model took, which counts where the config has no budget.
        rests: Whether it is only kept warm.
    """
    crew, budget_mb = config.workers + config.warm_spare, config.memory.budget_mb
    each = measured_bytes if budget_mb is None else budget_mb * MIB
    memory_bytes = None if each is None else crew * each
    return Claim(str(config.name), what, config.workers * config.fixed_threads, memory_bytes, rests)


def claims_during(now: Sequence[Claim], candidate: Claim, *, recreate: bool) -> tuple[Claim, ...]:
    """What is claimed at the worst moment of a rollout.

    Until the traffic has moved, all that the deployment has now is loaded beside the candidate. ``recreate`` stops that
    first, and starts it again where the candidate fails: then the larger of the two counts.

    Args:
        now: All claims on the host, before the rollout.
        candidate: The new revision's.
        recreate: Whether the strategy is recreate.
    """
    if not recreate:
        return (*now, candidate)
    others = tuple(claim for claim in now if claim.deployment != candidate.deployment)
    own = [claim for claim in now if claim.deployment == candidate.deployment and not claim.rests]
    return (*others, max((candidate, *own), key=lambda claim: claim.memory_bytes or 0))


def claims_after(now: Sequence[Claim], candidate: Claim) -> tuple[Claim, ...]:
    """What is claimed once the traffic has moved: of its own deployment only the candidate computes."""
    return (*(claim for claim in now if claim.deployment != candidate.deployment), candidate)


def memory_of(claims: Sequence[Claim]) -> int:
    """Bytes that are claimed; claims of which nothing is known are left out."""
    return sum(claim.memory_bytes or 0 for claim in claims)


def threads_of(claims: Sequence[Claim]) -> int:
    """Threads that may run at the same time."""
    return sum(claim.threads for claim in claims if not claim.rests)


def without_budget(claims: Sequence[Claim]) -> tuple[str, ...]:
    """The deployments that claim memory nobody knows how much of, each once."""
    return tuple(dict.fromkeys(claim.deployment for claim in claims if claim.memory_bytes is None))
