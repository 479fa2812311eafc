"""``--override REASON``: what people agreed on may be let pass by people; what was measured may not."""

from __future__ import annotations

from collections.abc import Iterable

from hyperion.domain.finding import Finding, Outcome
from hyperion.verification.plan_rollback import ROLLBACK
from hyperion.verification.plan_version import VERSION_STEP
from hyperion.verification.plan_window import WINDOW

OVERRIDABLE = {
    VERSION_STEP: "tell the clients before their requests fail",
    WINDOW: "tell those who agreed on the window",
    ROLLBACK: "know how you would go back before you need it",
}
"""The checks that may be let pass, each with what is left to do then."""


def is_overridable(finding: Finding) -> bool:
    """Whether a finding denies, and may be let pass."""
    return finding.outcome is Outcome.FAILED and finding.check in OVERRIDABLE


def override(findings: Iterable[Finding], reason: str | None) -> tuple[Finding, ...]:
    """The findings; those that may be let pass are warnings that bear ``reason``, where there is one."""
    return tuple(
        finding.model_copy(
            update={
                "outcome": Outcome.WARNED,
                "reason": f"{finding.reason} (overridden: {reason})",
                "hint": OVERRIDABLE[finding.check],
            }
        )
        if reason is not None and is_overridable(finding)
        else finding
        for finding in findings
    )
