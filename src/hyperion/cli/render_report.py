"""How reports look: findings, figures, and for a classifier its per-class figures and confusion matrix."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hyperion.cli.render import line, number, pairs, table
from hyperion.cli.text import bytes_for_people, clean

if TYPE_CHECKING:
    from rich.console import Console

    from hyperion.domain.finding import Finding, Report

STYLES = {"passed": "green", "failed": "bold red", "warned": "yellow", "skipped": "dim", "manual": "cyan"}
TABLES = ("per_class", "confusion_matrix")
MAX_MATRIX_CLASSES = 24
"""A larger confusion matrix is for programs (--json), not for eyes."""


def show_report(console: Console, report: Report) -> None:
    """The whole report, verdict last, where the eye is."""
    if report.subject is not None:
        subject = report.subject
        line(console, f"{report.kind} of {subject.name} {subject.version} ({subject.source})", "bold")
        line(console, subject.digest, "dim")
    show_findings(console, report.findings)
    show_figures(console, report.figures, report.unavailable)
    show_verdict(console, report)


def show_findings(console: Console, findings: Iterable[Finding]) -> None:
    """One row a finding; below it where, why and what to do, unless it passed."""
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_column(overflow="fold")
    for finding in findings:
        outcome = finding.outcome.value
        grid.add_row(Text(f"  {outcome}", STYLES[outcome]), Text(clean(finding.check)), Text(clean(finding.summary)))
        for detail in _details(finding):
            grid.add_row("", "", Text(clean(detail), "dim"))
    console.print(grid)


def _details(finding: Finding) -> list[str]:
    """What the summary leaves unsaid: entry, reason, code, hint."""
    if finding.outcome.value == "passed":
        return []
    told = [finding.summary]
    code = finding.code and f"code: {finding.code}"
    for detail in (finding.hint, code, finding.reason, finding.entry):
        if detail and not any(detail in text for text in told):
            told.append(detail)
    return told[:0:-1]


def show_verdict(console: Console, report: Report) -> None:
    """The last line: yes or no, and the count of each outcome."""
    counts: dict[str, int] = {}
    for finding in report.findings:
        counts[finding.outcome.value] = counts.get(finding.outcome.value, 0) + 1
    tally = ", ".join(f"{count} {outcome}" for outcome, count in counts.items()) or "no checks"
    line(console, f"{'ok' if report.ok else 'NOT OK'}: {tally}", "bold green" if report.ok else "bold red")


def show_figures(console: Console, figures: Mapping[str, Any], unavailable: Mapping[str, str]) -> None:
    """Figures in two columns, one that could not be had with its reason; then the tables of a classifier."""
    tables = {name: value for name, value in figures.items() if name in TABLES and value}
    rows = [(f"  {name}", figure(name, value, unavailable)) for name, value in figures.items() if name not in tables]
    if rows:
        line(console, "")
        pairs(console, rows)
    if per_class := tables.get("per_class"):
        show_per_class(console, per_class)
    if matrix := tables.get("confusion_matrix"):
        show_confusion(console, matrix["labels"], matrix["counts"])
    line(console, "")


def figure(name: str, value: object, unavailable: Mapping[str, str]) -> str:
    """One figure for people, with the unit that its name says; where it is null, why."""
    if value is None:
        return f"- ({unavailable[name]})" if name in unavailable else "-"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {figure(name, item, {})}" for key, item in value.items()) or "none"
    if isinstance(value, (list, tuple)):
        return ", ".join(str(item) for item in value)
    if name.endswith("_bytes") and isinstance(value, (int, float)):
        return bytes_for_people(value)
    return number(value, digits=4)


def show_per_class(console: Console, per_class: Mapping[str, Mapping[str, Any]]) -> None:
    """Precision, recall, F1 and support of every class."""
    columns = ("class", "precision", "recall", "f1", "support")
    line(console, "")
    rows = ((label, *(number(row.get(column)) for column in columns[1:])) for label, row in per_class.items())
    table(console, columns, rows, right=columns[1:])


def show_confusion(console: Console, labels: Sequence[object], counts: Sequence[Sequence[int]]) -> None:
    """Rows are the true classes, columns what the model answered; the diagonal is right."""
    line(console, "")
    if len(labels) > MAX_MATRIX_CLASSES:
        line(console, f"confusion matrix: {len(labels)} classes; see --json", "dim")
        return
    from rich.text import Text

    line(console, "confusion matrix (rows: true class, columns: answered)", "bold")
    columns = ["", *(str(label) for label in labels)]
    rows = [
        [str(label), *(Text(str(count) if count else "·", _shade(i == j, count)) for j, count in enumerate(row))]
        for i, (label, row) in enumerate(zip(labels, counts, strict=True))
    ]
    table(console, columns, rows, right=columns[1:])


def _shade(diagonal: bool, count: int) -> str:
    if not count:
        return "dim"
    return "green" if diagonal else "red"
