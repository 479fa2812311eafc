"""``hyperion log verify | export | rollback``."""

from __future__ import annotations

from pathlib import Path

import click

from hyperion.bootstrap import open_host
from hyperion.cli.command import PATH, Command, group, json_option
from hyperion.cli.exit_codes import NO, YES
from hyperion.cli.render import answer, emit
from hyperion.cli.render_log import show_export
from hyperion.cli.render_report import show_report
from hyperion.cli.render_rollback import show_rollback_record

STDOUT = Path("-")

log = group("Check and export the ledger; add a note on a rollback.", "log")


@log.command(
    "verify",
    cls=Command,
    examples=(
        "hyperion log verify",
        "hyperion log verify --against backup/current_model --against ledger.jsonl",
        "hyperion log verify --json",
    ),
    exit_codes=(1, 5, 9),
)
@click.option(
    "--against", type=PATH, multiple=True, metavar="BACKUP|EXPORT",
    help="A backup folder or an export: the end of the ledger that it kept must stand in the chain; repeatable.",
)  # fmt: skip
@json_option
def verify(against: tuple[Path, ...], as_json: bool) -> int:
    """Check that no event of the ledger was changed since it was written; exit 1 when one was.

    Each event carries the hash of the one before, so an edit shows. A chain that was written anew as a whole shows only
    beside an end of the ledger that was kept elsewhere, as every backup and every export keeps one: --against.
    """
    from hyperion.usecases.log import verify_log

    report = verify_log(open_host(), against)
    answer(report, as_json, show_report, ok=report.ok)
    return YES if report.ok else NO


@log.command(
    "export",
    cls=Command,
    examples=("hyperion log export --output ledger.jsonl", "hyperion log export --output - > ledger.jsonl"),
    exit_codes=(6, 9),
)
@click.option("--output", type=PATH, required=True, metavar="F.jsonl", help="The file to write; - is stdout.")
@json_option
def export(output: Path, as_json: bool) -> None:
    """Write the whole ledger as JSON lines: first the end of the chain, then every event.

    Keep it where nobody who can write the state folder can change it: 'log verify --against' then shows a ledger that
    was rewritten. An earlier export is replaced, any other file is left alone.
    """
    from hyperion.usecases.log import export_log, print_log

    if output == STDOUT:
        for text in print_log(open_host()):
            emit(text)
        return
    answer(export_log(open_host(), output), as_json, show_export)


@log.command(
    "rollback",
    cls=Command,
    examples=(
        'hyperion log rollback --backup backup/current_model --reason "Performance issues"',
        'hyperion log rollback --name mnist --reason "p95 doubled" --json',
    ),
    exit_codes=(5, 9),
)
@click.option("--backup", "source", type=PATH, metavar="backup/NAME", help="Note the latest rollback to this backup.")
@click.option("--name", metavar="NAME", help="Note the latest rollback of this deployment, whatever it went to.")
@click.option("--reason", required=True, metavar="R", help="What is to be said of it; kept in the ledger.")
@json_option
def rollback(source: Path | None, name: str | None, reason: str, as_json: bool) -> None:
    """Add your note on a rollback to the ledger and print its record, as Markdown or with --json as JSON."""
    from hyperion.usecases.document_rollback import document_latest_rollback, document_rollback

    if (source is None) is (name is None):
        raise click.UsageError("give either --backup or --name")
    if source is not None:
        record = document_rollback(open_host(), source, reason)
    else:
        record = document_latest_rollback(open_host(), str(name), reason)
    answer(record, as_json, show_rollback_record)
