"""``hyperion version check | update | compare``."""

from __future__ import annotations

from pathlib import Path

import click

from hyperion.bootstrap import open_host
from hyperion.cli.command import PATH, Command, group, json_option
from hyperion.cli.exit_codes import NO, YES
from hyperion.cli.render import answer
from hyperion.cli.render_version import show_comparison, show_update, show_version

version = group("Check, raise and compare the versions of packages.", "version")


@version.command("check", cls=Command, examples=("hyperion version check model.hyperion",), exit_codes=(1, 3, 5, 9))
@click.argument("path", type=PATH, metavar="F")
@json_option
def check(path: Path, as_json: bool) -> int:
    """Show a package's semantic version and history, and whether they hold together."""
    from hyperion.usecases.version import check_version

    summary = check_version(open_host(), path)
    answer(summary, as_json, show_version, ok=summary.ok)
    return YES if summary.ok else NO


@version.command(
    "update",
    cls=Command,
    examples=(
        "hyperion version update model.hyperion --minor",
        'hyperion version update model.hyperion --patch --message "Fix the label order"',
    ),
    exit_codes=(3, 5, 6, 9),
)
@click.argument("path", type=PATH, metavar="F")
@click.option("--major", is_flag=True, help="Incompatible changes: 1.2.3 becomes 2.0.0.")
@click.option("--minor", is_flag=True, help="Compatible additions: 1.2.3 becomes 1.3.0.")
@click.option("--patch", is_flag=True, help="Compatible fixes: 1.2.3 becomes 1.2.4.")
@click.option("--message", metavar="M", help="What changed, for the package's history.")
@json_option
def update(path: Path, major: bool, minor: bool, patch: bool, message: str | None, as_json: bool) -> None:
    """Raise a package's version in place, atomically, with a line in its history."""
    from hyperion.domain.version import Step
    from hyperion.usecases.version import update_version

    flags = ((major, Step.MAJOR), (minor, Step.MINOR), (patch, Step.PATCH))
    steps = [step for given, step in flags if given]
    if len(steps) != 1:
        found = " and ".join(f"--{step}" for step in steps) or "none"
        raise click.UsageError(f"which part to raise: expected one of --major, --minor, --patch, found {found}")
    answer(update_version(open_host(), path, steps[0], message), as_json, show_update)


@version.command(
    "compare",
    cls=Command,
    examples=("hyperion version compare model_v1.hyperion model_v2.hyperion",),
    exit_codes=(3, 5, 9),
)
@click.argument("first", type=PATH, metavar="A")
@click.argument("second", type=PATH, metavar="B")
@json_option
def compare(first: Path, second: Path, as_json: bool) -> None:
    """Show how B differs from A: order, inputs and outputs, layers, configs, metadata, sizes."""
    from hyperion.usecases.version import compare_versions

    answer(compare_versions(open_host(), first, second), as_json, show_comparison)
