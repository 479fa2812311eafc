"""``hyperion run``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hyperion.bootstrap import open_host
from hyperion.cli.command import PATH, Command
from hyperion.cli.progress import make_reporter
from hyperion.cli.render import answer
from hyperion.cli.render_run import show_answer

if TYPE_CHECKING:
    from hyperion.usecases.run_input import DataFile

_ALONE = ""
"""The value of ``--json`` and ``--csv`` without a file."""


@click.command(
    cls=Command,
    examples=(
        'hyperion run model.hyperion --text "What a lovely day" --text "It rains again"',
        'hyperion run model.hyperion --text "A man sleeps." --text-pair "He is awake." --json',
        "hyperion run model.hyperion --csv rows.csv",
        "hyperion run current_model --json request.json",
        "hyperion run model_dir --npz golden/sample.npz",
    ),
    exit_codes=(3, 4, 5, 9),
)
@click.argument("model", type=PATH, metavar="F")
@click.option("--text", "texts", multiple=True, metavar="T", help="A text; repeatable.")
@click.option(
    "--text-pair", "pairs", multiple=True, metavar="T", help="The second text of a pair, one for each --text."
)
@click.option(
    "--json",
    "json_file",
    is_flag=False,
    flag_value=_ALONE,
    metavar="[FILE]",
    help="Print the answer as JSON on stdout. With FILE (- for stdin), or without other inputs, also read rows or a "
    "v2 request as JSON.",
)
@click.option(
    "--csv", "csv_file", is_flag=False, flag_value=_ALONE, metavar="[FILE]",
    help="Read rows; the first line names the columns. Without FILE, or with -, from stdin.",
)  # fmt: skip
@click.option("--npz", "npz_file", metavar="FILE", help="Read tensors, arrays by the names of inputs; - for stdin.")
@click.option(
    "--batch", "batch_rows", type=click.IntRange(1, 65_536), default=32, show_default=True, metavar="N",
    help="Rows in one run of the engine.",
)  # fmt: skip
@click.option(
    "--threads", type=click.IntRange(1, 256), default=1, show_default=True, metavar="N", help="Of the engine."
)
def run(
    model: Path,
    texts: tuple[str, ...],
    pairs: tuple[str, ...],
    json_file: str | None,
    csv_file: str | None,
    npz_file: str | None,
    batch_rows: int,
    threads: int,
) -> None:
    """Run a package on texts, rows of a table or tensors, without a server.

    F is a package file or directory, or the name of an active deployment. What texts and rows become, and what the
    answer is called, says the package's config/processing.json; tensors need none.
    """
    from hyperion.usecases.run import RunOptions, run_model

    file = _file(json_file, csv_file, npz_file, bool(texts))
    if file is None and not texts:
        raise click.UsageError("what to run it on: expected --text, --csv, --json FILE or --npz, found none")
    if pairs and len(pairs) != len(texts):
        raise click.UsageError(f"expected as many --text-pair as --text, found {len(pairs)} and {len(texts)}")
    as_json = json_file is not None
    options = RunOptions(model, texts, pairs, file, batch_rows, threads)
    answer(run_model(open_host(), options, make_reporter(as_json=as_json)), as_json, show_answer)


def _file(json_file: str | None, csv_file: str | None, npz_file: str | None, has_texts: bool) -> DataFile | None:
    """The one file of inputs; ``--json`` alone is one only where there is nothing else, and not a terminal."""
    from hyperion.usecases.run_input import DataFile

    named = {"csv": csv_file, "npz": npz_file, "json": json_file or None}
    found = [
        DataFile(kind, None if name in (_ALONE, "-") else Path(name))
        for kind in ("csv", "npz", "json")
        if (name := named[kind]) is not None
    ]
    if len(found) + has_texts > 1:
        raise click.UsageError("which inputs: expected one of --text, --csv, --json FILE and --npz, found several")
    if not found and not has_texts and json_file == _ALONE and not sys.stdin.isatty():
        return DataFile("json")
    return found[0] if found else None
