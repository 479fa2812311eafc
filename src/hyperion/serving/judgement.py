"""May this worker take traffic? Its own findings and its memory, held against its revision."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from hyperion.domain.deployment import Origin, Revision
from hyperion.domain.finding import Finding, Outcome
from hyperion.domain.gate import decide
from hyperion.ports import ProcessUsage

MIB = 1024 * 1024


def judge(
    reported: Iterable[dict[str, Any]], usage: ProcessUsage | None, revision: Revision
) -> tuple[tuple[Finding, ...], str | None]:
    """All findings on a worker, and why it may not take traffic; None where it may.

    Args:
        reported: The worker's findings as JSON.
        usage: What its process takes after warm-up.
        revision: What it serves; a rollback is denied only by what a rescue must pass, and warned of the rest.
    """
    findings = tuple(Finding.model_validate_json(msgspec.json.encode(found)) for found in reported)
    findings = (*findings, check_memory(usage, revision.config.memory.budget_mb))
    decision = decide(findings, rescue=revision.origin is Origin.ROLLBACK)
    findings = tuple(_warned(found) if found in decision.warnings else found for found in findings)
    if decision.allowed:
        return findings, None
    return findings, "; ".join(f"{found.summary}: {found.reason}" for found in decision.denied_by)


def _warned(finding: Finding) -> Finding:
    return finding.model_copy(update={"outcome": Outcome.WARNED})


def check_memory(usage: ProcessUsage | None, budget_mb: int | None) -> Finding:
    """Resident memory after warm-up, against ``memory.budget_mb``."""
    check = "memory.budget"
    if usage is None:
        reason = "the kernel does not say"
        return Finding(check=check, outcome=Outcome.SKIPPED, summary="memory is not known", reason=reason)
    used_mb = round(usage.resident_bytes / MIB, 1)
    over = budget_mb is not None and used_mb > budget_mb
    return Finding(
        check=check,
        outcome=Outcome.FAILED if over else Outcome.PASSED,
        summary=f"{used_mb:g} MiB resident after warm-up",
        reason=f"expected at most memory.budget_mb = {budget_mb}, found {used_mb:g}" if over else None,
        measured=used_mb,
        limit=budget_mb,
        hint="raise memory.budget_mb, or package the model with a smaller scheme" if over else None,
    )
