"""``hyperion backup model | deploy model | rollback model | log rollback | stop | status``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hyperion.bootstrap import open_host
from hyperion.cli.command import PATH, Command, full_option, group, json_option
from hyperion.cli.exit_codes import ABORTED, NO, YES
from hyperion.cli.progress import make_reporter
from hyperion.cli.render import answer
from hyperion.cli.render_deployment import (
    show_backup,
    show_deployed,
    show_rollback_record,
    show_status,
    show_stopped,
)

if TYPE_CHECKING:
    from hyperion.usecases.deploy import DeployResult

backup = group("Keep a copy of what a deployment serves.", "backup")
deploy = group("Bring a package into service, proven before it takes traffic.", "deploy")
rollback = group("Go back to a backup's package and config.", "rollback")
log = group("Add an operator's note to the ledger.", "log")

backup_option = click.option(
    "--backup", "source", type=PATH, required=True, metavar="backup/NAME", help="A folder that 'backup model' wrote."
)
reason_option = click.option("--reason", required=True, metavar="R", help="Why, in your words; kept in the ledger.")


@backup.command(
    "model",
    cls=Command,
    examples=("hyperion backup model --name current_model --output backup/",),
    exit_codes=(5, 6, 9),
)
@click.option(
    "--name", required=True, metavar="NAME", help="The deployment; current_model also stands for the only one."
)
@click.option("--output", type=PATH, required=True, metavar="DIR", help="Where backups are kept; NAME/ is made in it.")
@json_option
def backup_model(name: str, output: Path, as_json: bool) -> None:
    """Keep the package, config and ledger head of a deployment in DIR/NAME.

    The same package again leaves it unchanged; another package keeps the old backup as NAME@rREVISION.
    """
    from hyperion.usecases.backup import backup_model as keep

    answer(keep(open_host(), name, output, make_reporter(as_json=as_json)), as_json, show_backup)


@deploy.command(
    "model",
    cls=Command,
    examples=(
        "hyperion deploy model --input model.hyperion --config deployment.json",
        "hyperion deploy model --input model.hyperion --dry-run",
        'hyperion deploy model --input model.hyperion --override "all clients were updated on Monday"',
    ),
    exit_codes=(1, 3, 5, 6, 7, 9),
)
@click.option("--input", "path", type=PATH, required=True, metavar="F", help="The package.")
@click.option("--config", "config_path", type=PATH, metavar="FILE", help="deployment.json: name, port, workers, …")
@click.option("--dry-run", is_flag=True, help="Make the checks and print the plan; change nothing.")
@click.option("--insecure", is_flag=True, help="Allow a host beyond loopback, though there are no keys yet.")
@click.option(
    "--override", metavar="REASON", help="Let a version step pass that is too small; the reason goes into the ledger."
)
@full_option
@json_option
def deploy_model(
    path: Path,
    config_path: Path | None,
    dry_run: bool,
    insecure: bool,
    override: str | None,
    full: bool,
    as_json: bool,
) -> int:
    """Check a package, load it in new workers, prove it, move the traffic, then stop the old workers.

    Where a step fails, the old revision goes on serving and the answer says why. The supervisor is started
    where none runs. The same package and config again change nothing. A version that promises clients less than
    the change from the active revision does to them is denied; --override lets this one check pass, and no other.
    """
    from hyperion.domain.config import DeploymentConfig
    from hyperion.usecases.config import load_config
    from hyperion.usecases.deploy import deploy_model as bring

    config = load_config(DeploymentConfig, config_path)
    reporter = make_reporter(as_json=as_json)
    result = bring(
        open_host(), path, config, reporter, dry_run=dry_run, insecure=insecure, override=override, full=full
    )
    return _answer(result, as_json)


@rollback.command(
    "model",
    cls=Command,
    examples=('hyperion rollback model --backup backup/current_model --reason "Performance issues"',),
    exit_codes=(1, 3, 5, 6, 7, 9),
)
@backup_option
@reason_option
@json_option
def rollback_model(source: Path, reason: str, as_json: bool) -> int:
    """Make a new revision of a backup's package and config, and bring it into service.

    Only a package that is broken, does not load or answers wrongly is refused, or one that never served here and that
    the trust policy does not know; every other finding warns.
    """
    from hyperion.usecases.rollback import rollback_model as go_back

    return _answer(go_back(open_host(), source, reason, make_reporter(as_json=as_json)), as_json)


@log.command(
    "rollback",
    cls=Command,
    examples=(
        'hyperion log rollback --backup backup/current_model --reason "Performance issues"',
        'hyperion log rollback --backup backup/current_model --reason "p95 doubled" --json',
    ),
    exit_codes=(3, 5, 6, 9),
)
@backup_option
@reason_option
@json_option
def log_rollback(source: Path, reason: str, as_json: bool) -> None:
    """Add your note on a rollback to the ledger and print its record, as Markdown or with --json as JSON."""
    from hyperion.usecases.rollback import document_rollback

    answer(document_rollback(open_host(), source, reason), as_json, show_rollback_record)


@click.command(cls=Command, examples=("hyperion stop mnist", "hyperion stop --all"), exit_codes=(5, 9))
@click.argument("name", required=False)
@click.option("--all", "everything", is_flag=True, help="Stop every deployment.")
@json_option
def stop(name: str | None, everything: bool, as_json: bool) -> None:
    """Finish what is in flight, then stop a deployment; the supervisor ends with the last one.

    Revisions and history stay: deploy the package again to serve it.
    """
    from hyperion.usecases.deploy import stop_deployments

    if (name is None) is not everything:
        raise click.UsageError("name one deployment, or give --all")
    answer(stop_deployments(open_host(), name), as_json, show_stopped)


@click.command(cls=Command, examples=("hyperion status", "hyperion status --json"), exit_codes=(9,))
@json_option
def status(as_json: bool) -> None:
    """Show all deployments at a glance: version, revision, address, workers, requests, latency."""
    from hyperion.usecases.status import read_status

    answer(read_status(open_host()), as_json, show_status)


def _answer(result: DeployResult, as_json: bool) -> int:
    """Print the result; returns 0, or 1 where the gate denied it, or 7 where the rollout was aborted."""
    answer(result, as_json, show_deployed)
    if not result.allowed:
        return NO
    return ABORTED if result.aborted else YES
