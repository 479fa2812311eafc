"""``hyperion quantize report``."""

from __future__ import annotations

from pathlib import Path

import click

from hyperion.bootstrap import open_host
from hyperion.cli.command import PATH, Command, group, json_option
from hyperion.cli.render import answer
from hyperion.cli.render_quantization import show_quantization

quantize = group("Show how a package is quantized, and what that costs.", "quantize")


@quantize.command(
    "report",
    cls=Command,
    examples=("hyperion quantize report model.hyperion", "hyperion quantize report model.hyperion --json"),
    exit_codes=(3, 5, 9),
)
@click.argument("path", type=PATH, metavar="F")
@json_option
def report(path: Path, as_json: bool) -> None:
    """Show every layer and weight with its scheme, bits, bytes and error, the budget, classes, and what was tried.

    What follows from the weights is in the package; what was measured through the engine is this host's.
    """
    from hyperion.usecases.quantize import report_quantization

    answer(report_quantization(open_host(), path), as_json, show_quantization)
