"""``hyperion serve``: the supervisor, in this terminal or in the background."""

from __future__ import annotations

import asyncio
import logging
import os

import click

from hyperion.cli.command import Command, json_option
from hyperion.cli.exit_codes import HOST

STDIN = 0


@click.command(
    cls=Command,
    examples=("hyperion serve", "hyperion serve --foreground"),
    exit_codes=(6, 9),
)
@click.option("--foreground", is_flag=True, help="Run in this terminal, or under init, until Ctrl-C or SIGTERM.")
@click.option("--detached", is_flag=True, hidden=True, help="End when there is nothing to do.")
@json_option
def serve(foreground: bool, detached: bool, as_json: bool) -> None:
    """Run the supervisor: it serves every deployment that the ledger desires.

    'hyperion deploy model' starts one by itself; this command brings all deployments back after a restart of the
    machine, waits for them and shows them; its exit code is 9 where one does not serve. SIGTERM drains the workers
    and leaves the deployments desired, so that the next start serves them again. SIGHUP replaces the workers one by
    one, without a gap; a supervisor in a terminal ends with that. SIGUSR2 replaces the supervisor itself, in its own
    process, by the software as it is installed now. Where the supervisor is killed, its workers serve on, and the next
    one adopts them.
    """
    if foreground:
        _run(detached=detached)
        return
    from hyperion.bootstrap import open_host
    from hyperion.cli.progress import make_reporter
    from hyperion.cli.render import answer
    from hyperion.cli.render_deployment import show_status
    from hyperion.usecases.serve import all_served, bring_back

    status = bring_back(open_host(), make_reporter(as_json=as_json))
    answer(status, as_json, show_status)
    raise SystemExit(0 if all_served(status) else HOST)


def _run(*, detached: bool) -> None:
    from hyperion.bootstrap import give_way, open_supervisor_parts, supervisor_lock
    from hyperion.serving.supervisor import Supervisor

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    with supervisor_lock() as lock:
        parts = open_supervisor_parts()
        supervisor = Supervisor(parts, detached=detached, in_terminal=os.isatty(STDIN))
        asyncio.run(supervisor.run())
        if supervisor.gives_way:
            give_way(lock, parts)
