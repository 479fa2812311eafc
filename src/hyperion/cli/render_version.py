"""How versions look: one, a raised one, a recovered one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from hyperion.cli.render import line, pairs, table, when
from hyperion.cli.render_report import show_findings

if TYPE_CHECKING:
    from rich.console import Console

    from hyperion.domain.manifest import HistoryLine
    from hyperion.usecases.version import VersionRecovery, VersionSummary, VersionUpdate

REPAIRS = {
    "finished": "the change was finished",
    "taken_back": "the change had not arrived; the package is as before it",
    "swept": "what the change left behind was removed",
}
ANOTHER_FILE = {"cloned": "a clone of the file", "copied": "a copy of the file"}


def show_version(console: Console, summary: VersionSummary) -> None:
    """The version, its history and whether that holds together."""
    line(console, f"{summary.name} {summary.version}", "bold")
    kind = "yes" if summary.is_prerelease else None
    rows = (
        ("  digest", summary.digest),
        ("  format", summary.format_version),
        ("  pre-release", kind),
        ("  parent", summary.parent),
    )
    pairs(console, rows)
    show_version_history(console, summary.history)
    show_findings(console, summary.findings)


def show_version_history(console: Console, history: Iterable[HistoryLine]) -> None:
    """The lines that ``version update`` added, oldest first."""
    lines = [(item.version, when(item.date), item.short_message) for item in history]
    if lines:
        line(console, "")
        table(console, ("version", "date", "message"), lines)
        line(console, "")


def show_update(console: Console, update: VersionUpdate) -> None:
    """From which version to which, and what became of hard links and of the signing."""
    rows = (("  message", update.line.short_message), ("  digest", update.digest), ("  before", update.digest_before))
    pairs(console, rows)
    if update.repair != "none":
        line(console, f"an interrupted change before: {REPAIRS[update.repair]}")
    if update.method in ANOTHER_FILE:
        line(console, f"{ANOTHER_FILE[update.method]} took its name: other hard links, if any, keep the old version")
    line(console, f"{update.name} {update.version_before} → {update.version} in {update.path}", "bold green")
    if update.signing == "void":
        signer = f" by {update.signed_before_by}" if update.signed_before_by else ""
        again = f"sign again with 'hyperion sign {update.path} --key K'"
        line(console, f"it was signed{signer}, which is void now; {again}", "yellow")
    elif update.signing == "signed":
        line(console, "signed anew", "green")


def show_recovery(console: Console, recovery: VersionRecovery) -> None:
    """What was found, and what the package is now."""
    signed = "yes" if recovery.is_signed else "no"
    pairs(console, (("  digest", recovery.digest), ("  signed", signed)))
    what = f"{recovery.name} {recovery.version} in {recovery.path}"
    if recovery.repair == "none":
        line(console, f"{what}: nothing was interrupted, nothing was done", "bold green")
    else:
        line(console, f"{what}: {REPAIRS[recovery.repair]}", "bold green")
