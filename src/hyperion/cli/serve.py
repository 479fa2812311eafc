"""``hyperion serve``: the supervisor, in this terminal or in the background."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import click

from hyperion.cli.command import Command, json_option

if TYPE_CHECKING:
    from rich.console import Console

    from hyperion.domain.command import Pong


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
    machine. SIGTERM drains the workers and leaves the deployments desired, so that the next start serves them again.
    """
    if foreground:
        _run(detached=detached)
        return
    from hyperion.bootstrap import open_host
    from hyperion.cli.render import answer

    answer(open_host().control.ensure_running(), as_json, _show)


def _show(console: Console, pong: Pong) -> None:
    console.print(f"the supervisor runs, pid {pong.pid}")


def _run(*, detached: bool) -> None:
    from hyperion.bootstrap import open_supervisor_parts, supervisor_lock
    from hyperion.serving.supervisor import Supervisor

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    with supervisor_lock():
        asyncio.run(Supervisor(open_supervisor_parts(), detached=detached).run())
