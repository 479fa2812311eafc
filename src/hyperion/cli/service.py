"""``hyperion service install | show``."""

from __future__ import annotations

import os
import sys
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import click

from hyperion.bootstrap import open_host, open_unit_check, state_dir
from hyperion.cli.command import PATH, Command, group, json_option
from hyperion.cli.exit_codes import NO, YES
from hyperion.cli.render import answer
from hyperion.cli.render_service import show_units

if TYPE_CHECKING:
    from collections.abc import Callable

    from hyperion.domain.service_unit import ServiceRequest

USUAL_ACCOUNT = "hyperion"
USUAL_STATE = Path("/var/lib/hyperion")

service = group("Run the supervisor under systemd: from boot on, started again when it ends, with limits.", "service")


def _unit_options(command: Callable[..., object]) -> Callable[..., object]:
    options = (
        click.option("--user", "is_user", is_flag=True, help="For your own systemd (systemctl --user)."),
        click.option(
            "--account", metavar="NAME", default=USUAL_ACCOUNT, show_default=True,
            help="Whose name the system's service bears and who owns its state.",
        ),
        click.option(
            "--listen", metavar="HOST:PORT|PATH", multiple=True,
            help="Let systemd open this address or unix socket of a deployment and keep it open; may be repeated.",
        ),
    )  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


@service.command(
    "show",
    cls=Command,
    examples=("hyperion service show", "hyperion service show --user --listen 127.0.0.1:8080"),
    exit_codes=(9,),
)
@_unit_options
@json_option
def show(is_user: bool, account: str, listen: tuple[str, ...], as_json: bool) -> None:
    """Print the units that 'service install' would write."""
    from hyperion.usecases.service import show_service

    answer(show_service(open_host(), _request(is_user, account, listen)), as_json, show_units)


@service.command(
    "install",
    cls=Command,
    examples=(
        "hyperion service install --user",
        "sudo hyperion service install --account hyperion --listen 127.0.0.1:8080",
        "hyperion service install --output units/",
    ),
    exit_codes=(1, 6, 9),
)
@_unit_options
@click.option("--output", type=PATH, metavar="DIR", help="Write them here, and not where systemd looks for them.")
@json_option
def install(is_user: bool, account: str, listen: tuple[str, ...], output: Path | None, as_json: bool) -> int:
    """Write hyperion.service (with --listen also hyperion.socket), and have 'systemd-analyze verify' check them.

    systemd itself is told nothing: the answer names the commands that bring the units into force. A unit of this name
    that somebody else wrote is not touched. Exit code 1 where systemd does not understand them.
    """
    from hyperion.usecases.service import install_service

    units = install_service(open_host(), _request(is_user, account, listen), output, open_unit_check())
    answer(units, as_json, show_units)
    return NO if units.check is not None and units.check.passed is False else YES


def _request(is_user: bool, account: str, listen: tuple[str, ...]) -> ServiceRequest:
    from hyperion.domain.service_unit import Scope, ServiceRequest
    from hyperion.usecases.service import parse_listen

    own_state = is_user or bool(os.environ.get("HYPERION_HOME"))
    return ServiceRequest(
        scope=Scope.USER if is_user else Scope.SYSTEM,
        command=(*_program(), "serve", "--foreground"),
        state_dir=PurePosixPath(state_dir() if own_state else USUAL_STATE),
        account=account,
        listen=tuple(parse_listen(address) for address in listen),
    )


def _program() -> tuple[str, ...]:
    """How systemd, which knows no PATH of ours, starts this very installation."""
    script = Path(sys.executable).parent / "hyperion"
    return (str(script),) if script.is_file() else (sys.executable, "-P", "-m", "hyperion")
