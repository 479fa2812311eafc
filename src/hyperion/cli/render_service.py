"""How systemd's units look."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hyperion.cli.render import block, line

if TYPE_CHECKING:
    from rich.console import Console

    from hyperion.usecases.service import ServiceUnits


def show_units(console: Console, found: ServiceUnits) -> None:
    """The units' texts; where they were written, what systemd says of them and what to do next."""
    if found.folder is None:
        for name, text in found.units.items():
            line(console, f"# --- {name}", "bold")
            block(console, text)
        return
    names = ", ".join(found.units)
    line(console, f"{names} in {found.folder}: {'written' if found.changed else 'unchanged'}", "bold green")
    if found.check is not None:
        words = {True: "passed", False: "FAILED", None: "not run"}[found.check.passed]
        line(console, f"systemd-analyze verify: {words}", "bold red" if found.check.passed is False else "")
        for message in found.check.messages:
            line(console, f"  {message}")
    line(console, "then:")
    for step in found.next_steps:
        line(console, f"  {step}")
