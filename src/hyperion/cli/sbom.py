"""``hyperion sbom``."""

from __future__ import annotations

from pathlib import Path

import click

from hyperion.bootstrap import open_host
from hyperion.cli.command import PATH, Command, json_option
from hyperion.cli.render import answer, emit
from hyperion.cli.render_signing import show_bom

STDOUT = Path("-")


@click.command(
    cls=Command,
    examples=(
        "hyperion sbom model.hyperion --output model.cdx.json",
        "hyperion sbom model.hyperion --output -",
    ),
    exit_codes=(3, 5, 6, 9),
)
@click.argument("path", type=PATH, metavar="F")
@click.option("--output", type=PATH, required=True, metavar="F.cdx.json", help="The file to write; - is stdout.")
@json_option
def sbom(path: Path, output: Path, as_json: bool) -> None:
    """Write a package's bill of materials beside it: a CycloneDX 1.6 ML-BOM with model card, files and digests.

    The same package gives the same bytes; a time stands in it only where SOURCE_DATE_EPOCH is set.
    """
    from hyperion import __version__
    from hyperion.usecases.sbom import print_bom, write_bom

    if output == STDOUT:
        emit(print_bom(open_host(), path, __version__))
        return
    answer(write_bom(open_host(), path, output, __version__), as_json, show_bom)
