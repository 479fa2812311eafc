"""Backups: a portable, proven copy of a deployment's package and config, with the end of its ledger."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from hyperion.domain.deployment import Revision
from hyperion.domain.document import DeploymentName, Digest, Document
from hyperion.domain.event import LedgerHead
from hyperion.domain.finding import Finding, Outcome

BACKUP_FILE = "backup.json"
PACKAGE_FILE = "package.hyperion"
"""The package: a directory whose files backups share by digest, or, of a full backup, one file."""
CONFIG_FILE = "deployment.json"


class RestoreProof(Document):
    """What a restore into a scratch folder showed, before the backup got its name."""

    at: datetime
    platform: str
    """Of the host that made it, such as ``linux/amd64``."""
    size_bytes: int
    """Entries that were restored, every byte of them what the package's digest promises."""
    findings: tuple[Finding, ...]
    """The restored package in the engine: that it loads, and its golden requests."""

    @property
    def golden(self) -> str:
        """In one word: ``passed``, or ``skipped`` where the package has no golden requests to judge by."""
        found = (finding.outcome for finding in self.findings if finding.check == "model.golden")
        return next(found, Outcome.SKIPPED).value


class Backup(Document):
    """backup.json: what the backup beside it holds."""

    format: Literal["hyperion.backup"] = "hyperion.backup"
    """Marks the folder as ours; no other is replaced or removed."""
    format_version: Annotated[int, Field(ge=1, le=1)] = 1
    deployment: DeploymentName
    revision: int
    digest: Digest
    model: str
    version: str
    ledger: LedgerHead
    """The end of the ledger when the backup was made: a ledger that lost or rewrote events since then lacks it."""
    created_at: datetime
    proof: RestoreProof | None = None
    """None only in a backup that an earlier Hyperion made."""

    def is_of(self, revision: Revision) -> bool:
        """Whether it holds this revision's package for this revision's deployment; the config is not looked at."""
        return self.deployment == revision.deployment and self.digest == revision.digest


def earlier_name(name: str, revision: int) -> str:
    """Under which name the backup ``name`` of a revision is kept when a later one takes its place."""
    return f"{name}@r{revision}"


def is_earlier_name(candidate: str, name: str) -> bool:
    """Whether a folder's name is one that an earlier backup ``name`` may have been given."""
    return re.fullmatch(re.escape(name) + r"@r\d+(\.\d+)?", candidate) is not None


def surplus(earlier: Iterable[tuple[str, Backup]], keep: int) -> tuple[str, ...]:
    """Names of the earlier backups that go so that ``keep`` stay, oldest first.

    The latest one is not among them: it bears the name itself, whatever the clock said when it was made.

    Args:
        earlier: Folder name and content of each.
        keep: How many stay with the latest one, at least 1.
    """
    by_age = sorted(earlier, key=lambda item: (item[1].created_at, item[1].revision, item[0]))
    return tuple(name for name, _ in by_age[: max(len(by_age) - (keep - 1), 0)])
