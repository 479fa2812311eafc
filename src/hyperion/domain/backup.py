"""Backups: a portable, proven copy of a deployment's package and config, with the end of its ledger."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from hyperion.domain.deployment import Revision
from hyperion.domain.document import DeploymentName, Digest, Document
from hyperion.domain.event import LedgerHead

BACKUP_FILE = "backup.json"
PACKAGE_FILE = "package.hyperion"
CONFIG_FILE = "deployment.json"


class Backup(Document):
    """backup.json: what the backup beside it holds."""

    format: Literal["hyperion.backup"] = "hyperion.backup"
    """Marks the folder as ours; no other is replaced."""
    format_version: Annotated[int, Field(ge=1, le=1)] = 1
    deployment: DeploymentName
    revision: int
    digest: Digest
    model: str
    version: str
    ledger: LedgerHead
    """The end of the ledger when the backup was made: a ledger that lost or rewrote events since then lacks it."""
    created_at: datetime

    def is_of(self, revision: Revision) -> bool:
        """Whether it holds this revision's package for this revision's deployment; the config is not looked at."""
        return self.deployment == revision.deployment and self.digest == revision.digest
