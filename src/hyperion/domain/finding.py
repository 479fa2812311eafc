"""Check → finding → report → gate: what was looked at, what came out."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum

from hyperion.domain.document import Digest, Document, JsonValue


class Outcome(StrEnum):
    """What a check says."""

    PASSED = "passed"
    FAILED = "failed"
    WARNED = "warned"
    """Worth a person's eye; does not deny."""
    SKIPPED = "skipped"
    """Could not be measured here; the reason says why."""
    MANUAL = "manual"
    """Only a person can answer; the reason names the deployment.json field that records it."""


class Finding(Document):
    """The outcome of one check."""

    check: str
    """Stable dotted name, such as ``integrity.digests`` or ``performance.latency_p95``."""
    outcome: Outcome
    summary: str
    """One line for people."""
    reason: str | None = None
    """Why it failed, warned, was skipped or is manual."""
    measured: JsonValue = None
    limit: JsonValue = None
    entry: str | None = None
    """The package entry or document field that is concerned."""
    hint: str | None = None
    code: str | None = None
    """Error code of what is wrong, where it has one (docs/reference/errors.md)."""


def in_short(findings: Iterable[Finding]) -> str:
    """Findings in one line: a check's summary where it has one finding, else how many of them passed."""
    by_check: dict[str, list[Finding]] = {}
    for finding in findings:
        by_check.setdefault(finding.check, []).append(finding)
    return "; ".join(_told(check, found) for check, found in by_check.items())


def _told(check: str, found: list[Finding]) -> str:
    if len(found) > 1:
        return f"{check}: {sum(finding.outcome is Outcome.PASSED for finding in found)} of {len(found)} passed"
    (only,) = found
    return only.summary if only.outcome is Outcome.PASSED else f"{only.outcome.value} {check}: {only.summary}"


class Subject(Document):
    """What a report is about."""

    name: str
    version: str
    digest: Digest
    source: str
    """The path or deployment as the user named it."""


class Report(Document):
    """All findings of one verification, with the figures that were measured."""

    kind: str
    """``integrity``, ``model``, ``deployment``, ``performance``, ``memory``, ``compatibility`` or ``checklist``."""
    subject: Subject | None
    created_at: datetime
    findings: tuple[Finding, ...]
    figures: dict[str, JsonValue] = {}
    """Measured values by name; one without samples is null and its reason stands in ``unavailable``."""
    unavailable: dict[str, str] = {}
    """Why a figure is null."""

    @property
    def ok(self) -> bool:
        """Whether nothing failed."""
        return all(finding.outcome is not Outcome.FAILED for finding in self.findings)

    def failures(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.outcome is Outcome.FAILED)
