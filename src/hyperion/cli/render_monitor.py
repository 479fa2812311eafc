"""How a watched deployment looks: a live view, a row a round, or JSON lines."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from hyperion.cli.render import emit, json_line, make_console, number, when
from hyperion.cli.render_report import figure
from hyperion.cli.text import bytes_for_people, clean

if TYPE_CHECKING:
    from rich.console import Group

    from hyperion.domain.metrics import ErrorRound, MetricsDocument, MonitorRound

COLUMNS: dict[str, tuple[tuple[str, str], ...]] = {
    "performance": (
        ("latency_p50_ms", "p50 ms"),
        ("latency_p95_ms", "p95 ms"),
        ("latency_p99_ms", "p99 ms"),
        ("requests_per_s", "req/s"),
        ("error_ratio", "errors"),
        ("cpu_utilisation", "cpu"),
        ("cache_hit_ratio", "cache hit"),
        ("page_cache_resident_ratio", "page cache"),
    ),
    "resources": (
        ("memory_resident_bytes", "resident"),
        ("memory_proportional_bytes", "own share"),
        ("disk_bytes", "on disk"),
        ("disk_read_bytes", "read"),
        ("disk_written_bytes", "written"),
        ("network_received_bytes", "received"),
        ("network_sent_bytes", "sent"),
        ("cpu_cycles", "cycles"),
    ),
}
"""Figures of a round that have a column on a terminal, and its heading; all figures are in the JSON lines."""

WIDTH = 11
ROWS_PER_HEADING = 20


def show_live(rounds: Iterable[MetricsDocument], as_json: bool) -> None:
    """Draw every round over the one before, on a terminal."""
    if as_json or not sys.stdout.isatty():
        _json_lines(rounds)
        return
    from rich.live import Live

    with Live(console=make_console(), auto_refresh=False) as live:
        for document in rounds:
            live.update(_page(document), refresh=True)


def _page(document: MetricsDocument) -> Group:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    head = f"{document.deployment}: {document.model} {document.version}, revision {document.revision}"
    grid = Table.grid(padding=(0, 2))
    for name, value in document.figures.items():
        grid.add_row(Text(clean(f"  {name}"), "dim"), Text(clean(figure(name, value, document.unavailable))))
    foot = f"{when(document.measured_at)}, over {number(document.window_s)} s; Ctrl-C ends"
    return Group(Text(clean(head), "bold"), grid, Text(foot, "dim"))


def show_rounds(rounds: Iterable[MonitorRound], as_json: bool) -> None:
    """A row a round, on a terminal; the reason of a missing figure is told once."""
    if as_json or not sys.stdout.isatty():
        _json_lines(rounds)
        return
    told: set[str] = set()
    for index, item in enumerate(rounds):
        columns = COLUMNS[item.kind]
        if index % ROWS_PER_HEADING == 0:
            emit(f"{'time':<10}" + "".join(f"{heading:>{WIDTH}}" for _, heading in columns) + "\n")
        cells = "".join(f"{_cell(name, item.figures):>{WIDTH}}" for name, _ in columns)
        emit(f"{item.measured_at:%H:%M:%SZ} {cells}\n")
        for name, heading in columns:
            if (reason := item.unavailable.get(name)) and reason not in told:
                told.add(reason)
                emit(clean(f"  {heading}: {reason}") + "\n")


def _cell(name: str, figures: Mapping[str, Any]) -> str:
    value = figures.get(name)
    if value is not None and name.endswith("_bytes"):
        return bytes_for_people(value)
    if value is not None and name.endswith(("_ratio", "_utilisation")):
        return f"{value:.1%}"
    return clean(number(value))


def show_errors(rounds: Iterable[ErrorRound], as_json: bool) -> None:
    """A line an error, on a terminal."""
    if as_json or not sys.stdout.isatty():
        _json_lines(rounds)
        return
    for item in rounds:
        for error in item.errors:
            where = ", ".join(
                f"{key} {value}"
                for key, value in (("revision", error.revision), ("worker", error.worker), ("status", error.status))
                if value is not None
            )
            emit(clean(f"{error.at or '-'} {error.cause}: {error.message}{f' ({where})' if where else ''}") + "\n")
        counts = ", ".join(f"{cause} {count}" for cause, count in item.by_cause.items())
        emit(clean(f"{item.measured_at:%H:%M:%SZ} {counts or 'no new errors'}") + "\n")


def _json_lines(rounds: Iterable[Any]) -> None:
    for item in rounds:
        emit(json_line(item))
