"""``hyperion rollback model``."""

from __future__ import annotations

from pathlib import Path

import click

from hyperion.bootstrap import open_host
from hyperion.cli.command import PATH, Command, group, json_option
from hyperion.cli.deploy import answer_deployed
from hyperion.cli.progress import make_reporter

rollback = group("Go back to a backup, or to an earlier revision.", "rollback")


@rollback.command(
    "model",
    cls=Command,
    examples=(
        'hyperion rollback model --backup backup/current_model --reason "Performance issues"',
        'hyperion rollback model --to 3 --name mnist --reason "p95 doubled"',
        'hyperion rollback model --to 1.0.0 --name mnist --reason "wrong digits" --dry-run',
    ),
    exit_codes=(1, 3, 5, 6, 7, 9),
)
@click.option("--backup", "source", type=PATH, metavar="backup/NAME", help="A folder that 'backup model' wrote.")
@click.option("--to", "target", metavar="T", help="What was served here: a revision, a version or a digest.")
@click.option("--name", metavar="NAME", help="The deployment, with --to; by default the only one.")
@click.option("--reason", required=True, metavar="R", help="Why, in your words; kept in the ledger.")
@click.option("--dry-run", is_flag=True, help="Make the checks and print the plan; change nothing.")
@json_option
def rollback_model(
    source: Path | None, target: str | None, name: str | None, reason: str, dry_run: bool, as_json: bool
) -> int:
    """Make a new revision of an earlier package and config, and bring it into service.

    With --to, from this host's own store: no backup is needed, and while the replaced revision is still warm, going
    back to it takes no loading. A version that several packages bear is refused, with their revisions. Only a package
    that is broken, does not load or answers wrongly is refused, or one that never served here and that the trust policy
    does not know; every other finding warns.
    """
    from hyperion.domain.deployment import CURRENT_MODEL
    from hyperion.usecases import rollback as usecase

    reporter = make_reporter(as_json=as_json)
    if (source is None) is (target is None):
        raise click.UsageError("give either --backup or --to")
    if source is not None:
        if name is not None:
            raise click.UsageError("--name goes with --to: a backup names its deployment itself")
        result = usecase.rollback_model(open_host(), source, reason, reporter, dry_run=dry_run)
    else:
        named = CURRENT_MODEL if name is None else name
        result = usecase.rollback_to(open_host(), named, str(target), reason, reporter, dry_run=dry_run)
    return answer_deployed(result, as_json)
