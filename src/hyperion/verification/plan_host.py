"""The checklist's question on the whole host: is there room beside the other deployments, at the worst moment?"""

from __future__ import annotations

from collections.abc import Sequence

from hyperion.domain.document import JsonValue
from hyperion.domain.finding import Finding, Outcome
from hyperion.domain.host_load import MIB, Claim, memory_of, threads_of, without_budget

HOST_MEMORY, CORES = "plan.host_memory", "plan.cores"


def check_host_load(
    during: Sequence[Claim], after: Sequence[Claim], memory_bytes: int | None, cores: int | None
) -> tuple[Finding, ...]:
    """Hold what all deployments claim against this host.

    Args:
        during: Claims at the worst moment of the rollout, for memory.
        after: Claims when it is over, for threads: for a moment, revisions may wait for each other.
        memory_bytes: Memory of this host, or what a control group leaves of it; None where that is not known.
        cores: Of this host; None where that is not known.
    """
    return _memory(during, memory_bytes), _threads(after, cores)


def _memory(claims: Sequence[Claim], memory_bytes: int | None) -> Finding:
    claimed, unknown = memory_of(claims), without_budget(claims)
    uncounted = f", not counting what has no memory.budget_mb: {', '.join(unknown)}" if unknown else ""
    told = "; ".join(str(claim) for claim in claims)
    measured: dict[str, JsonValue] = {str(claim): claim.memory_bytes for claim in claims}
    if memory_bytes is None:
        return Finding(
            check=HOST_MEMORY,
            outcome=Outcome.SKIPPED,
            summary=f"all deployments may take {claimed / MIB:.0f} MiB{uncounted}",
            reason="the memory of this host is not known",
            measured=measured,
        )
    share = f"{claimed / MIB:.0f} of the {memory_bytes / MIB:.0f} MiB"
    summary = f"all deployments may take {share} of this host{uncounted}"
    finding = Finding(check=HOST_MEMORY, outcome=Outcome.PASSED, summary=summary, measured=measured, limit=memory_bytes)
    if claimed > memory_bytes:
        return finding.model_copy(
            update={
                "outcome": Outcome.FAILED,
                "reason": told,
                "entry": "memory.budget_mb",
                "hint": "stop a deployment, lower workers or memory.budget_mb, or move with the strategy 'recreate'",
            }
        )
    return finding


def _threads(claims: Sequence[Claim], cores: int | None) -> Finding:
    threads = threads_of(claims)
    summary = f"all deployments run {threads} threads on {'?' if cores is None else cores} cores"
    if cores is None or threads <= cores:
        return Finding(check=CORES, outcome=Outcome.PASSED, summary=summary, measured=threads, limit=cores)
    each = "; ".join(f"{claim.deployment} ({claim.what}) {claim.threads}" for claim in claims if not claim.rests)
    return Finding(
        check=CORES,
        outcome=Outcome.WARNED,
        summary=summary,
        reason=f"they will wait for each other: {each}",
        measured=threads,
        limit=cores,
        entry="threads",
        hint="lower 'workers' or 'threads' in deployment.json",
    )
