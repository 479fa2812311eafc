"""Is there room on this host? What the ledger's deployments claim of it, and the last word before a worker starts."""

from __future__ import annotations

from collections.abc import Iterable

from hyperion.domain.config import DeploymentConfig
from hyperion.domain.deployment import Revision
from hyperion.domain.host_load import MIB, Claim, claim_of, claims_during, memory_of
from hyperion.errors import HostError
from hyperion.ports import HostFacts, Ledger


def read_claims(ledger: Ledger, warm: Iterable[Revision]) -> tuple[Claim, ...]:
    """One for each revision that is active or desired, and one for each of ``warm``, those that are kept loaded."""
    rests = {revision.deployment: revision for revision in warm}
    claims: list[Claim] = []
    for deployment in ledger.deployments():
        if deployment.desired_revision is None:
            continue
        numbers = {deployment.active_revision, deployment.desired_revision}
        claims += [
            claim_of(ledger.revision(deployment.name, number).config, f"revision {number}")
            for number in sorted(number for number in numbers if number is not None)
        ]
        if (resting := rests.get(deployment.name)) is not None:
            claims.append(claim_of(resting.config, f"revision {resting.number}, kept warm", rests=True))
    return tuple(claims)


def require_room(claims: Iterable[Claim], config: DeploymentConfig, facts: HostFacts) -> None:
    """Refuse a rollout for which the budgets of all deployments leave no room.

    The checklist has asked that already; but another deployment may have come since.

    Args:
        claims: Of all deployments, now.
        config: Of the new revision.
        facts: Of this host.

    Raises:
        HostError: Code ``host.memory_claimed``.
    """
    candidate = claim_of(config, "the new revision")
    during = claims_during(tuple(claims), candidate, recreate=config.strategy == "recreate")
    claimed, memory_bytes = memory_of(during), facts.memory_bytes()
    if memory_bytes is None or claimed <= memory_bytes:
        return
    raise HostError(
        f"all deployments may take {claimed / MIB:.0f} MiB: {'; '.join(map(str, during))}",
        hint="stop a deployment, lower workers or memory.budget_mb, or move with the strategy 'recreate'",
        code="host.memory_claimed",
        expected=memory_bytes,
        actual=claimed,
    )
