"""The root command: which commands there are, and where."""

from __future__ import annotations

import click

from hyperion.cli.command import Lazy, LazyGroup

COMMANDS: dict[str, Lazy] = {
    "package": Lazy("hyperion.cli.package:package", "Pack a model directory into one .hyperion file."),
    "extract": Lazy("hyperion.cli.package:extract", "Unpack a package, verifying every byte."),
    "run": Lazy("hyperion.cli.run:run", "Run a package on texts, rows of a table or tensors."),
    "inspect": Lazy("hyperion.cli.package:inspect", "Show what is in a package."),
    "quantize": Lazy("hyperion.cli.quantize:quantize", "Show how a package is quantized, and what that costs."),
    "version": Lazy("hyperion.cli.version:version", "Check, raise, recover and compare the versions of packages."),
    "sign": Lazy("hyperion.cli.sign:sign", "Sign a package, so that others can tell whose it is."),
    "keygen": Lazy("hyperion.cli.sign:keygen", "Make a pair of keys for signing."),
    "sbom": Lazy("hyperion.cli.sbom:sbom", "Write a package's bill of materials (CycloneDX)."),
    "verify": Lazy("hyperion.cli.verify:verify", "Check a package or a deployment; exit 1 when the answer is no."),
    "backup": Lazy("hyperion.cli.backup:backup", "Keep a proven copy of what a deployment serves."),
    "deploy": Lazy("hyperion.cli.deploy:deploy", "Bring a package into service, proven before it takes traffic."),
    "rollback": Lazy("hyperion.cli.rollback:rollback", "Go back to a backup, or to an earlier revision."),
    "log": Lazy("hyperion.cli.log:log", "Check and export the ledger; add a note on a rollback."),
    "monitor": Lazy("hyperion.cli.monitor:monitor", "Watch a deployment while it serves."),
    "status": Lazy("hyperion.cli.deploy:status", "Show all deployments at a glance."),
    "history": Lazy("hyperion.cli.history:history", "Show a deployment's revisions and events."),
    "logs": Lazy("hyperion.cli.history:logs", "Show what a deployment's workers wrote."),
    "stop": Lazy("hyperion.cli.deploy:stop", "Drain and stop a deployment, or all."),
    "serve": Lazy("hyperion.cli.serve:serve", "Run the supervisor in this terminal or under init."),
    "service": Lazy("hyperion.cli.service:service", "Run the supervisor under systemd."),
    "key": Lazy("hyperion.cli.key:key", "Make, list and take away API keys of the deployments."),
    "cache": Lazy("hyperion.cli.cache:cache", "Show, check and clear what this host made of packages for its workers."),
    "platform": Lazy("hyperion.cli.platform:platform", "Describe this machine for compatibility checks."),
    "completion": Lazy("hyperion.cli.completion:completion", "Print the shell completion script."),
}


def _print_version(context: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        from hyperion import __version__

        click.echo(f"hyperion {__version__}")
        context.exit()


@click.command(cls=LazyGroup, lazy=COMMANDS, name="hyperion")
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_print_version,
    help="Show the version and exit.",
)
def root() -> None:
    """From a trained model to a verified, monitored, reversible service.

    The usual way: package model, verify model, backup model, deploy model, verify deployment, monitor model,
    and, when it must be, rollback model.
    """
