"""``hyperion history`` and ``hyperion logs``."""

from __future__ import annotations

import click

from hyperion.bootstrap import open_host
from hyperion.cli.command import Command, json_option
from hyperion.cli.endless import until_stopped
from hyperion.cli.render import answer, emit, json_line
from hyperion.cli.render_deployment import log_line, show_history

POLL_S = 0.5
"""How often ``logs --follow`` looks for new lines."""


@click.command(cls=Command, examples=("hyperion history mnist", "hyperion history mnist --json"), exit_codes=(5, 9))
@click.argument("name")
@json_option
def history(name: str, as_json: bool) -> None:
    """Show a deployment's revisions and the events of the ledger, oldest first."""
    from hyperion.usecases.history import read_history

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
