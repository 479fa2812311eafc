"""What a bake saw, and what was concluded from it: kept in the ledger with the decision that it led to."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from hyperion.domain.document import Document
from hyperion.domain.finding import Finding, Outcome


class VerdictKind(StrEnum):
    PASS = "pass"  # noqa: S105  (a verdict)
    HOLD = "hold"
    """Not yet: the bake goes on."""
    BREACH = "breach"


class ArmFigures(Document):
    """One side of the comparison, over its window."""

    revision: int
    requests: int
    """Answered, without those that clients spoilt themselves."""
    errors: int
    error_ratio: float | None
    """Share of ``requests``; None without any."""
    failures: dict[str, int]
    """By cause (ERROR_CAUSES), those of clients' making too."""
    p50_ms: float | None
    p95_ms: float | None


class Evidence(Document):
    """What a verdict rests on."""

    bake: Literal["canary", "watch"]
    """``canary``: both revisions over the same time. ``watch``: after promotion, against the replaced one before it."""
    elapsed_s: float
    """Since the bake began."""
    looks: int
    """How often the figures were held against each other; each look has its part of the level."""
    candidate: ArmFigures
    stable: ArmFigures | None
    """What it was held against; None where nothing was replaced."""
    findings: tuple[Finding, ...]
    """Checks ``rollout.errors``, ``rollout.latency_p95``, ``rollout.invalid_outputs``, ``rollout.golden``,
    ``rollout.memory_growth`` and ``rollout.samples``; the first two are those of the last look."""

    @property
    def sentences(self) -> tuple[str, ...]:
        """In words for people: the two sides, then each finding."""
        sides = [_side("the candidate", self.candidate)]
        if self.stable is not None:
            sides.append(_side("stable", self.stable))
        found = [f.summary if f.reason is None else f"{f.summary}: {f.reason}" for f in self.findings]
        return (*sides, *found)

    @property
    def line(self) -> str:
        """In one line: how many gates held, over what, and the two sides."""
        broken = [finding.check for finding in self.breaches]
        held = sum(finding.outcome is Outcome.PASSED for finding in self.findings)
        gates = f"{held} of {len(self.findings)} gates held" if not broken else f"broken: {', '.join(broken)}"
        sides = [_figures("candidate", self.candidate)]
        if self.stable is not None:
            sides.append(_figures("stable", self.stable))
        return f"{gates} over {self.elapsed_s:.3g} s ({'; '.join(sides)})"

    @property
    def breaches(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.outcome is Outcome.FAILED)


class Verdict(Document):
    """May the rollout go on?"""

    kind: VerdictKind
    reason: str
    """One line for people."""
    evidence: Evidence


def _side(name: str, arm: ArmFigures) -> str:
    return _figures(f"{name} (revision {arm.revision}):", arm)


def _figures(name: str, arm: ArmFigures) -> str:
    latency = "no latency" if arm.p95_ms is None else f"p95 {arm.p95_ms:.3g} ms"
    return f"{name} {arm.requests} requests, {arm.errors} errors, {latency}"
