"""How the ledger's answers look: an export of it, and what was live when."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hyperion.cli.render import line, pairs, table, when
from hyperion.cli.text import bytes_for_people
from hyperion.domain.digest import short

if TYPE_CHECKING:
    from rich.console import Console

    from hyperion.domain.live import LiveHistory
    from hyperion.usecases.log import ExportSummary


def show_export(console: Console, summary: ExportSummary) -> None:
    """Where the export is, and the end of the chain that it keeps."""
    line(console, f"exported {summary.events} events to {summary.path}", "bold green")
    pairs(console, (("  size", bytes_for_people(summary.size_bytes)), ("  head", summary.head.hash)))
    if summary.first_broken is not None:
        line(console, f"the chain is BROKEN at event {summary.first_broken}: see 'hyperion log verify'", "bold red")


def show_live(console: Console, live: LiveHistory) -> None:
    """One row for each revision that took traffic, and when nothing did."""
    moment = (live.end - live.start).total_seconds() < 1
    line(
        console,
        f"live at {when(live.start)}" if moment else f"live from {when(live.start)} to {when(live.end)}",
        "bold",
    )
    rows = [
        (name, f"{found.revision.model} {found.revision.version}", found.revision.number, f"{found.share:.0%}",
         when(found.since), when(found.until), found.sequence, short(found.revision.digest))
        for name, revisions in live.deployments.items()
        for found in revisions
    ]  # fmt: skip
    columns = ("deployment", "version", "revision", "share", "since", "until", "event", "digest")
    if rows:
        table(console, columns, rows, right=("revision", "share", "event"))
    for name, revisions in live.deployments.items():
        if not revisions:
            line(console, f"{name}: nothing was live")
    if not live.deployments:
        line(console, "nothing is deployed on this host")
    for outage in live.outages:
        until = "and has not been started since" if outage.until is None else f"until {when(outage.until)}"
        line(console, f"the supervisor was stopped at {when(outage.since)} {until}: nothing was served", "yellow")
