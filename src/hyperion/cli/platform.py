"""``hyperion platform probe``."""

from __future__ import annotations

from pathlib import Path

import click

from hyperion.bootstrap import open_host
from hyperion.cli.command import PATH, Command, group, json_option
from hyperion.cli.render import answer
from hyperion.cli.render_package import show_platform

platform = group("Describe this machine for compatibility checks.", "platform")


@platform.command(
    "probe",
    cls=Command,
    examples=("hyperion platform probe --output target_platform", "hyperion platform probe --json"),
    exit_codes=(6, 9),
)
@click.option("--output", type=PATH, metavar="FILE", help="Also write the profile there, for another machine.")
@json_option
def probe(output: Path | None, as_json: bool) -> None:
    """Describe this machine and its engine: CPU features, memory, disk, operators.

    Take the file where packages are made, and check them there with 'verify compatibility --platform FILE'.
    """
    from hyperion.usecases.probe import probe_platform

    answer(probe_platform(open_host(), output), as_json, show_platform)
