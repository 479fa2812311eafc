"""How backups look, and the record of a rollback."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hyperion.cli.render import block, line, pairs, when
from hyperion.cli.render_report import show_findings
from hyperion.cli.text import bytes_for_people

if TYPE_CHECKING:
    from rich.console import Console

    from hyperion.domain.rollback import RollbackRecord
    from hyperion.usecases.backup import BackupSummary


def show_backup(console: Console, summary: BackupSummary) -> None:
    """Where the backup is, what it holds, and what its restore showed."""
    backup = summary.backup
    state = "unchanged" if summary.unchanged else "written and proven"
    line(console, f"backup of {backup.deployment} in {summary.path}: {state}", "bold green")
    shared = f", {bytes_for_people(summary.shared_bytes)} of it shared" if summary.shared_bytes else ""
    rows = (
        ("  package", f"{backup.model} {backup.version}, {bytes_for_people(summary.size_bytes)}{shared}"),
        ("  digest", backup.digest),
        ("  revision", backup.revision),
        ("  made at", when(backup.created_at)),
        ("  restored", None if backup.proof is None else f"{when(backup.proof.at)} on {backup.proof.platform}"),
        ("  ledger", f"event {backup.ledger.sequence}"),
        ("  old backup", summary.kept_as),
        ("  removed", ", ".join(summary.removed)),
    )
    pairs(console, rows)
    if backup.proof is not None:
        show_findings(console, backup.proof.findings)


def show_rollback_record(console: Console, record: RollbackRecord) -> None:
    """The record as Markdown."""
    block(console, record.to_markdown())
