"""``hyperion deploy model | stop | status``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hyperion.bootstrap import open_host
from hyperion.cli.command import PATH, Command, full_option, group, json_option
from hyperion.cli.exit_codes import ABORTED, NO, YES
from hyperion.cli.progress import make_reporter
from hyperion.cli.render import answer
from hyperion.cli.render_deployment import show_deployed, show_status, show_stopped

if TYPE_CHECKING:
    from hyperion.usecases.deploy import DeployResult

deploy = group("Bring a package into service, proven before it takes traffic.", "deploy")


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
@click.option("--insecure", is_flag=True, help="Allow a host beyond loopback without API keys or TLS.")
@click.option(
    "--override",
    metavar="REASON",
    help="Go on outside the window, without a way back, or with too small a version step; kept in the ledger.",
)
@click.option("--follow", is_flag=True, help="Wait for the end of the watch, too; 7 where the supervisor went back.")
@click.option("--detach", is_flag=True, help="Return once the rollout has begun; 'history' shows what becomes of it.")
@full_option
@json_option
def deploy_model(
    path: Path,
    config_path: Path | None,
    dry_run: bool,
    insecure: bool,
    override: str | None,
    follow: bool,
    detach: bool,
    full: bool,
    as_json: bool,
) -> int:
    """Check a package, load it in new workers, prove it, move the traffic, then stop the old workers.

    Where a step fails, the old revision goes on serving and the answer says why. The supervisor is started
    where none runs. The same package and config again change nothing. A version that promises clients less than
    the change from the active revision does to them is denied, and so is a time outside the deployment window, and a
    deploy without a way back: a proven backup, or the old revision kept warm. --override lets these three pass, and no
    other check.
    """
    from hyperion.domain.command import Until
    from hyperion.domain.config import DeploymentConfig
    from hyperion.usecases.config import load_config
    from hyperion.usecases.deploy import deploy_model as bring

    if follow and detach:
        raise click.UsageError("--follow waits to the end, --detach waits for nothing: choose one")
    until = Until.FINISHED if follow else Until.STARTED if detach else Until.SHIFTED
    config = load_config(DeploymentConfig, config_path)
    reporter = make_reporter(as_json=as_json)
    result = bring(
        open_host(), path, config, reporter,
        dry_run=dry_run, insecure=insecure, override=override, full=full, until=until,
    )  # fmt: skip
    return answer_deployed(result, as_json)


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


def answer_deployed(result: DeployResult, as_json: bool) -> int:
    """Print the result; returns 0, or 1 where the gate denied it, or 7 where it was aborted or gone back from."""
    answer(result, as_json, show_deployed)
    if not result.allowed:
        return NO
    return ABORTED if result.aborted or result.rolled_back else YES
