"""The root command, and the one place where errors become messages and exit codes."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import Any

import click

from hyperion.cli.command import Lazy, LazyGroup
from hyperion.cli.endless import discard_stdout
from hyperion.cli.exit_codes import BROKEN_PIPE, INTERRUPTED

COMMANDS: dict[str, Lazy] = {
    "package": Lazy("hyperion.cli.package:package", "Pack a model directory into one .hyperion file."),
    "extract": Lazy("hyperion.cli.package:extract", "Unpack a package, verifying every byte."),
    "inspect": Lazy("hyperion.cli.package:inspect", "Show what is in a package."),
    "version": Lazy("hyperion.cli.version:version", "Check, raise and compare the versions of packages."),
    "verify": Lazy("hyperion.cli.verify:verify", "Check a package or a deployment; exit 1 when the answer is no."),
    "backup": Lazy("hyperion.cli.deploy:backup", "Keep a copy of what a deployment serves."),
    "deploy": Lazy("hyperion.cli.deploy:deploy", "Bring a package into service, proven before it takes traffic."),
    "rollback": Lazy("hyperion.cli.deploy:rollback", "Go back to a backup's package and config."),
    "log": Lazy("hyperion.cli.deploy:log", "Add an operator's note to the ledger."),
    "monitor": Lazy("hyperion.cli.monitor:monitor", "Watch a deployment while it serves."),
    "status": Lazy("hyperion.cli.deploy:status", "Show all deployments at a glance."),
    "history": Lazy("hyperion.cli.history:history", "Show a deployment's revisions and events."),
    "logs": Lazy("hyperion.cli.history:logs", "Show what a deployment's workers wrote."),
    "stop": Lazy("hyperion.cli.deploy:stop", "Drain and stop a deployment, or all."),
    "serve": Lazy("hyperion.cli.serve:serve", "Run the supervisor in this terminal or under init."),
    "platform": Lazy("hyperion.cli.platform:platform", "Describe this machine for compatibility checks."),
    "completion": Lazy("hyperion.cli.completion:completion", "Print the shell completion script."),
}


def _print_version(context: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        from hyperion import __version__

        click.echo(f"hyperion {__version__}")
        context.exit()


@click.command(cls=LazyGroup, lazy=COMMANDS, name="hyperion")
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_print_version,
    help="Show the version and exit.",
)
def root() -> None:
    """From a trained model to a verified, monitored, reversible service.

    The usual way: package model, verify model, backup model, deploy model, verify deployment, monitor model,
    and, when it must be, rollback model.
    """


def run(arguments: Sequence[str]) -> int:
    """Run one command line; returns its exit code and never raises."""
    from hyperion.cli import failure

    as_json = failure.wants_json(arguments)
    verb = next((word for word in arguments if not word.startswith("-")), None)
    try:
        answer: Any = root.main(list(arguments), prog_name="hyperion", standalone_mode=False)
        sys.stdout.flush()
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted", err=True)
        return INTERRUPTED
    except BrokenPipeError:
        discard_stdout()
        return BROKEN_PIPE
    except Exception as error:  # noqa: BLE001  (the process edge)
        return failure.report(error, verb, as_json=as_json)
    return answer if isinstance(answer, int) else 0


def _end(_signal: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + signal.SIGTERM)


def main() -> None:
    """Entry point of the console script."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # text that the terminal's encoding lacks is shown, not a crash
            stream.reconfigure(errors="backslashreplace")
    signal.signal(signal.SIGTERM, _end)  # so that half-written files are removed on the way out
    sys.exit(run(sys.argv[1:]))
