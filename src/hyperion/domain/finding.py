"""Check → finding → report → gate: what was looked at, what came out."""

from __future__ import annotations

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
