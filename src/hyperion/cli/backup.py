"""``hyperion backup model``."""

from __future__ import annotations

from pathlib import Path

import click

from hyperion.bootstrap import open_host
from hyperion.cli.command import PATH, Command, group, json_option
from hyperion.cli.progress import make_reporter
from hyperion.cli.render import answer
from hyperion.cli.render_rollback import show_backup

backup = group("Keep a proven copy of what a deployment serves.", "backup")


@backup.command(
    "model",
    cls=Command,
    examples=(
        "hyperion backup model --name current_model --output backup/",
        "hyperion backup model --name mnist --output backup/ --keep 5",
        "hyperion backup model --name mnist --output /mnt/usb/backup --full --json",
    ),
    exit_codes=(5, 6, 9),
)
@click.option(
    "--name", required=True, metavar="NAME", help="The deployment; current_model also stands for the only one."
)
@click.option("--output", type=PATH, required=True, metavar="DIR", help="Where backups are kept; NAME/ is made in it.")
@click.option("--full", is_flag=True, help="Share no file with other backups in DIR: the package as one file.")
@click.option(
    "--keep",
    type=click.IntRange(min=1),
    metavar="N",
    help="Afterwards remove the oldest backups of this name beyond N, and nothing that is no backup.",
)
@json_option
def backup_model(name: str, output: Path, full: bool, keep: int | None, as_json: bool) -> None:
    """Keep the package, config and ledger head of a deployment in DIR/NAME, and prove it by restoring it.

    What other backups in DIR hold already is shared with them by hard links; each stays whole without the others, and
    a copy of its folder is whole anywhere. At the end the package is restored into a scratch folder and answers its
    golden requests there; a backup that does not is not kept. The same package and config again leave it unchanged;
    others keep the old backup as NAME@rREVISION.
    """
    from hyperion.usecases.backup import backup_model as make

    reporter = make_reporter(as_json=as_json)
    answer(make(open_host(), name, output, reporter, full=full, keep=keep), as_json, show_backup)
