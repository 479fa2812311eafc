"""The rule that turns findings into allow or deny."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from hyperion.domain.finding import Finding, Outcome

RESCUE_CHECKS = ("integrity.", "model.load", "model.golden", "plan.signing")
"""What even a rollback must pass: the package is whole, loads, answers correctly, and no stranger brought it."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Allow or deny, with the findings that decided.

    Attributes:
        allowed: Whether to go on.
        denied_by: Failed findings that deny.
        warnings: Failed findings that this gate only warns of, and findings that warned themselves.
    """

    allowed: bool
    denied_by: tuple[Finding, ...]
    warnings: tuple[Finding, ...]

    def only_warning(self) -> Decision:
        """The same findings, where there is nothing to deny."""
        return Decision(allowed=True, denied_by=(), warnings=(*self.denied_by, *self.warnings))


def decide(findings: Iterable[Finding], *, rescue: bool = False) -> Decision:
    """Deny where a check failed.

    A rescue (rollback) is denied only by integrity, load, golden correctness and the trust policy, which lets what the
    deployment served before come back (docs/adr/0012); everything else warns, since refusing a way back for its speed
    would keep the worse revision serving.
    """
    denied: list[Finding] = []
    warned: list[Finding] = []
    for finding in findings:
        if finding.outcome is Outcome.WARNED:
            warned.append(finding)
        elif finding.outcome is Outcome.FAILED:
            decisive = not rescue or finding.check.startswith(RESCUE_CHECKS)
            (denied if decisive else warned).append(finding)
    return Decision(allowed=not denied, denied_by=tuple(denied), warnings=tuple(warned))
