"""How one revision looks: what became of it, and the guide's checklist as it was filled in for it."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import TYPE_CHECKING

from hyperion.cli.render import line, pairs, table, when
from hyperion.cli.render_event import told
from hyperion.cli.render_evidence import show_evidence
from hyperion.cli.render_report import show_findings, show_verdict
from hyperion.domain.checklist import fill_in
from hyperion.domain.confinement import means_of
from hyperion.domain.event import EventKind

if TYPE_CHECKING:
    from rich.console import Console

    from hyperion.domain.event import Event
    from hyperion.domain.finding import Report
    from hyperion.domain.history import RevisionHistory, RevisionRecord


def show_revision(console: Console, record: RevisionRecord) -> None:
    """Who, what and why; the checklist, section by section; the events with their evidence."""
    history = record.history
    revision = history.revision
    line(console, f"revision {revision.number} of {revision.deployment}: {history.state.value}", "bold")
    _show_facts(console, history)
    if record.checklist is None:
        line(console, "no checklist was filled in: nobody asked for this revision", "dim")
    else:
        _show_checklist(console, record.checklist)
    line(console, "")
    rows = ((event.sequence, when(event.at), str(event.kind), event.actor, told(event)) for event in record.events)
    table(console, ("event", "at", "what", "who", "detail"), rows, right=("event",))
    line(console, "")
    _show_confinement(console, record.events)
    show_evidence(console, record.events)


def _show_facts(console: Console, history: RevisionHistory) -> None:
    revision, config = history.revision, history.revision.config
    pairs(
        console,
        (
            ("  model", f"{revision.model} {revision.version}"),
            ("  digest", revision.digest),
            ("  made by", f"{revision.origin.value}, {revision.actor}, {when(revision.created_at)}"),
            ("  active from", when(history.promoted_at)),
            ("  active until", when(history.active_until)),
            ("  environment", config.environment),
            ("  owner", config.owner),
            ("  team", config.team),
            ("  notes", config.notes),
            ("  runbook", config.runbook),
            ("  reason", history.aborted_reason or revision.reason),
            ("  overridden", revision.override),
        ),
    )


def _show_confinement(console: Console, events: Iterable[Event]) -> None:
    """What each protection of the workers is, or why it is not there."""
    for event in events:
        details = event.data.get("details")
        if event.kind is EventKind.WORKERS_CONFINED and isinstance(details, dict):
            line(console, f"what confines the workers, by event {event.sequence}", "bold")
            pairs(console, ((f"  {means_of(name)}", detail) for name, detail in details.items()))
            line(console, "")


def _show_checklist(console: Console, checklist: Report) -> None:
    line(console, "")
    line(console, f"pre-deployment checklist, filled in {when(checklist.created_at)}", "bold")
    for section, items in groupby(fill_in(checklist.findings), key=lambda item: item.section):
        line(console, section, "bold")
        for item in items:
            line(console, f" {item.title}")
            if item.findings:
                show_findings(console, item.findings)
            else:
                line(console, "  not looked at", "dim")
    show_verdict(console, checklist)
