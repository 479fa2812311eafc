"""``hyperion key add | list | remove``."""

from __future__ import annotations

import click

from hyperion.bootstrap import open_host, open_key_rings
from hyperion.cli.command import Command, group, json_option
from hyperion.cli.render import answer
from hyperion.cli.render_key import show_added, show_keys, show_removed

SCOPES = ("infer", "metrics", "admin")

key = group("Make, list and take away API keys of the deployments.", "key")


@key.command(
    "add",
    cls=Command,
    examples=(
        "hyperion key add web-shop --deployment mnist",
        "hyperion key add prometheus --scope metrics --expires 90d",
        "hyperion key add ci --scope infer --scope metrics --json",
    ),
    exit_codes=(2, 6, 9),
)
@click.argument("name")
@click.option(
    "--scope", "scopes", type=click.Choice(SCOPES), multiple=True, default=("infer",), show_default=True,
    help="What it opens: inference, /metrics, or with admin both; repeatable.",
)  # fmt: skip
@click.option("--deployment", metavar="NAME", help="The deployment that it opens; without it, all of this host.")
@click.option(
    "--expires", metavar="DAYS|TIME",
    help="When it ends: 90d, a date (its end in UTC), or a time with its zone; without it, when it is removed.",
)  # fmt: skip
@json_option
def add(name: str, scopes: tuple[str, ...], deployment: str | None, expires: str | None, as_json: bool) -> None:
    """Make an API key for NAME and print its token, which is shown this once and kept nowhere.

    It holds where deployment.json says serve.require_key. Clients send it as 'Authorization: Bearer TOKEN'. To replace
    a key, add another one, give it to the clients, and remove the first: nothing is restarted.
    """
    from hyperion.domain.access import Scope
    from hyperion.usecases.key import add_key

    added = add_key(open_host(), open_key_rings(), name, [Scope(scope) for scope in scopes], deployment, expires)
    answer(added, as_json, show_added)


@key.command("list", cls=Command, examples=("hyperion key list", "hyperion key list --json"), exit_codes=(2, 9))
@json_option
def list_(as_json: bool) -> None:
    """Show the keys of this host: who has them, what they open, and until when; near ends are marked."""
    from hyperion.usecases.key import list_keys

    answer(list_keys(open_host(), open_key_rings()), as_json, show_keys)


@key.command(
    "remove",
    cls=Command,
    examples=("hyperion key remove web-shop", "hyperion key remove 1f0c2a9b"),
    exit_codes=(2, 5, 9),
)
@click.argument("which", metavar="ID|NAME")
@json_option
def remove(which: str, as_json: bool) -> None:
    """Take a key away: whoever shows it is refused within a second.

    Where no supervisor runs, the workers that it left go on with the keys that they know until the next one comes.
    """
    from hyperion.usecases.key import remove_key

    answer(remove_key(open_host(), open_key_rings(), which), as_json, show_removed)
