"""How versions look: one, a raised one, two compared."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from hyperion.cli.render import line, pairs, table, when
from hyperion.cli.render_report import show_findings
from hyperion.cli.text import bytes_for_people
from hyperion.domain.digest import PREFIX, short

if TYPE_CHECKING:
    from rich.console import Console

    from hyperion.domain.comparison import Change, ComparedPackage, VersionComparison
    from hyperion.domain.manifest import HistoryLine
    from hyperion.usecases.version import VersionSummary, VersionUpdate

ORDERS = {"newer": "is newer than", "same": "has the same precedence as", "older": "is older than"}


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
    lines = [(item.version, when(item.date), item.message) for item in history]
    if lines:
        line(console, "")
        table(console, ("version", "date", "message"), lines)
        line(console, "")


def show_update(console: Console, update: VersionUpdate) -> None:
    """From which version to which."""
    rows = (("  message", update.line.message), ("  digest", update.digest), ("  before", update.digest_before))
    pairs(console, rows)
    line(console, f"{update.name} {update.version_before} → {update.version} in {update.path}", "bold green")


def show_comparison(console: Console, comparison: VersionComparison) -> None:
    """Both packages side by side, then what differs, kind by kind."""
    before, after = comparison.before, comparison.after
    pairs(console, (("before", before.source), ("after", after.source)))
    line(console, "")
    table(console, ("", "before", "after"), _sides(before, after))
    line(console, "")
    if comparison.is_identical:
        line(console, "both are the same package", "bold")
        return
    kinds = (
        ("inputs and outputs", comparison.signature),
        ("layers", comparison.layers),
        ("configs and other entries", comparison.configs),
        ("metadata", comparison.metadata),
    )
    for title, changes in kinds:
        line(console, f"{title}: {_count(changes)}", "bold" if changes else "dim")
        if changes:
            table(console, ("  which", "before", "after"), (_change(change) for change in changes))
    line(console, f"{after.version} {ORDERS[comparison.order]} {before.version}", "bold")


def _sides(before: ComparedPackage, after: ComparedPackage) -> Iterable[tuple[object, ...]]:
    yield "name", before.name, after.name
    yield "version", before.version, after.version
    yield "digest", short(before.digest), short(after.digest)
    yield "size", bytes_for_people(before.total_bytes), bytes_for_people(after.total_bytes)
    yield "weights", bytes_for_people(before.weights_bytes), bytes_for_people(after.weights_bytes)


def _count(changes: tuple[Change, ...]) -> str:
    return "no change" if not changes else f"{len(changes)} changed"


def _change(change: Change) -> tuple[str, str, str]:
    return f"  {change.path}", _value(change.before), _value(change.after)


def _value(value: object) -> str:
    if value is None:
        return "-"
    text = str(value)
    return short(text) if text.startswith(PREFIX) else text
