"""``hyperion history`` and ``hyperion logs``."""

from __future__ import annotations

import click

from hyperion.bootstrap import open_host
from hyperion.cli.command import Command, json_option
from hyperion.cli.endless import until_stopped
from hyperion.cli.render import answer, emit, json_line
from hyperion.cli.render_deployment import log_line, show_history
from hyperion.cli.render_log import show_live
from hyperion.cli.render_revision import show_revision

POLL_S = 0.5
"""How often ``logs --follow`` looks for new lines."""


@click.command(
    cls=Command,
    examples=(
        "hyperion history mnist",
        "hyperion history mnist --revision 3",
        "hyperion history --at 2026-11-22T18:00:00Z",
        "hyperion history mnist --at '2026-11-22 18:00 Europe/Berlin' --json",
    ),
    exit_codes=(5, 9),
)
@click.argument("name", required=False)
@click.option(
    "--at", "time", metavar="TIME",
    help="What was live then: RFC 3339, a local time with its zone, or a date for that whole day in UTC.",
)  # fmt: skip
@click.option("--revision", type=int, metavar="N", help="One revision: its checklist as it was filled in, its events.")
@json_option
def history(name: str | None, time: str | None, revision: int | None, as_json: bool) -> None:
    """Show a deployment's revisions and the events of the ledger, oldest first; or one revision; or what was live.

    With --at, of all deployments where none is named: the revisions that took traffic, and their share of it.
    """
    from hyperion.usecases.history import read_history, read_live, read_revision

    if revision is not None:
        if name is None or time is not None:
            raise click.UsageError("--revision is one of a deployment: name that, and give no --at")
        answer(read_revision(open_host(), name, revision), as_json, show_revision)
    elif time is not None:
        answer(read_live(open_host(), time, name), as_json, show_live)
    elif name is None:
        raise click.UsageError("name a deployment, or give --at")
    else:
        answer(read_history(open_host(), name), as_json, show_history)


@click.command(cls=Command, examples=("hyperion logs mnist", "hyperion logs mnist --follow"), exit_codes=(5, 9))
@click.argument("name")
@click.option("--follow", "-f", is_flag=True, help="Go on with new lines until Ctrl-C.")
@json_option
def logs(name: str, follow: bool, as_json: bool) -> None:
    """Show what a deployment's workers and supervisor wrote; with --json the JSON lines as they are."""
    with until_stopped(endless=follow):
        from hyperion.usecases.history import read_logs

        host, cursor = open_host(), None
        form = json_line if as_json else log_line
        while True:
            lines, cursor = read_logs(host, name, cursor)
            emit("".join(map(form, lines)))
            if not (lines or follow):
                click.echo(f"nothing was written for {name} yet", err=True)
            if not follow:
                break
            host.clock.sleep(POLL_S)
