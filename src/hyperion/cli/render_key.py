"""How API keys look."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hyperion.cli.render import line, table, when

if TYPE_CHECKING:
    from rich.console import Console

    from hyperion.usecases.key import KeyAdded, KeyRemoved, KeyShown, KeysListed


def show_added(console: Console, added: KeyAdded) -> None:
    """The token on a line of its own, to be copied."""
    until = "" if added.key.expires_at is None else f" until {when(added.key.expires_at)}"
    line(console, f"key {added.key.id} of {added.key.name!r} opens {_opened(added.key)}{until}")
    line(console, added.token, "bold")
    line(console, "it is not shown again; clients send it as 'Authorization: Bearer TOKEN'", "dim")
    if not added.deployment_known:
        line(console, f"there is no deployment {added.key.deployment!r} on this host yet", "yellow")


def show_keys(console: Console, found: KeysListed) -> None:
    """Who has each, what it opens, and until when; below, what ends or ended."""
    from hyperion.domain.access import NEAR, Validity

    if not found.keys:
        line(console, "no keys; make one with 'hyperion key add NAME'")
        return
    rows = (
        (key.id, key.name, ", ".join(key.scopes), key.deployment or "all", when(key.created_at), _end(key))
        for key in found.keys
    )
    table(console, ("id", "name", "scopes", "deployment", "made", "expires"), rows)
    for key in found.keys:
        if key.validity is Validity.EXPIRED:
            line(console, f"{key.name!r} has expired and opens nothing: 'hyperion key remove {key.id}'", "yellow")
        elif key.validity is Validity.NEAR_EXPIRY:
            told = "add a key under another name and give it to the clients before then"
            line(console, f"{key.name!r} expires within {NEAR.days} days: {told}", "yellow")


def _end(key: KeyShown) -> str:
    words = {"open": "", "near_expiry": ", soon", "expired": ", EXPIRED"}
    return "never" if key.expires_at is None else f"{when(key.expires_at)}{words[key.validity.value]}"


def show_removed(console: Console, removed: KeyRemoved) -> None:
    line(console, f"key {removed.key.id} of {removed.key.name!r} opens nothing any more")


def _opened(key: KeyShown) -> str:
    where = "every deployment of this host" if key.deployment is None else f"the deployment {key.deployment}"
    return f"{', '.join(key.scopes)} of {where}"
