"""``hyperion version check | update | recover | compare``."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from hyperion.bootstrap import open_host
from hyperion.cli.command import PATH, Command, group, json_option
from hyperion.cli.exit_codes import NO, YES
from hyperion.cli.progress import make_reporter
from hyperion.cli.render import answer, emit
from hyperion.cli.render_version import show_recovery, show_update, show_version

version = group("Check, raise, recover and compare the versions of packages.", "version")


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
        'hyperion version update model.hyperion --patch --message "Trained on the data of May"',
        "hyperion version update model.hyperion --patch --key release.key",
    ),
    exit_codes=(3, 5, 6, 9),
)
@click.argument("path", type=PATH, metavar="F")
@click.option("--major", is_flag=True, help="Incompatible changes: 1.2.3 becomes 2.0.0.")
@click.option("--minor", is_flag=True, help="Compatible additions: 1.2.3 becomes 1.3.0.")
@click.option("--patch", is_flag=True, help="Compatible fixes: 1.2.3 becomes 1.2.4.")
@click.option("--message", metavar="M", help="What changed, for the package's history.")
@click.option("--key", type=PATH, metavar="K", help="Sign the package anew with this private key, in the same write.")
@json_option
def update(
    path: Path, major: bool, minor: bool, patch: bool, message: str | None, key: Path | None, as_json: bool
) -> None:
    """Raise a package's version in place, atomically, with a line in its history.

    It takes as long for a large package as for a small one. A step that is smaller than what changed since the parent
    asks for is refused. A signing becomes void; --key signs anew.
    """
    from hyperion.cli.sign import ask_passphrase
    from hyperion.domain.version import Step
    from hyperion.usecases.key_file import load_signing_key
    from hyperion.usecases.version import update_version

    flags = ((major, Step.MAJOR), (minor, Step.MINOR), (patch, Step.PATCH))
    steps = [step for given, step in flags if given]
    if len(steps) != 1:
        found = " and ".join(f"--{step}" for step in steps) or "none"
        raise click.UsageError(f"which part to raise: expected one of --major, --minor, --patch, found {found}")
    loaded = None if key is None else load_signing_key(key, ask_passphrase, make_reporter(as_json=as_json))
    answer(update_version(open_host(), path, steps[0], message, loaded), as_json, show_update)


@version.command("recover", cls=Command, examples=("hyperion version recover model.hyperion",), exit_codes=(3, 5, 6, 9))
@click.argument("path", type=PATH, metavar="F")
@json_option
def recover(path: Path, as_json: bool) -> None:
    """Repair a package whose update or signing was interrupted: it becomes the old package or the new one.

    A healthy package stays as it is, and so does one that is damaged otherwise.
    """
    from hyperion.usecases.version import recover_version

    answer(recover_version(open_host(), path), as_json, show_recovery)


@version.command(
    "compare",
    cls=Command,
    examples=(
        "hyperion version compare model_v1.hyperion model_v2.hyperion",
        "hyperion version compare model_v1.hyperion model_v2.hyperion --dataset test_data/ --plan",
        "hyperion version compare model_v1.hyperion model_v2.hyperion --markdown > release-notes.md",
    ),
    exit_codes=(3, 4, 5, 9),
)
@click.argument("first", type=PATH, metavar="A")
@click.argument("second", type=PATH, metavar="B")
@click.option("--quick", is_flag=True, help="Compare by the manifests alone; no layer is read.")
@click.option("--layers", is_flag=True, help="Show every weight of the layers that differ.")
@click.option("--dataset", type=PATH, metavar="DIR", help="Run both on a folder of *.npz or *.csv.")
@click.option("--plan", is_flag=True, help="Go through the migration list for the step; runs B's golden requests.")
@click.option("--markdown", is_flag=True, help="Print Markdown, for a release note.")
@json_option
def compare(
    first: Path,
    second: Path,
    quick: bool,
    layers: bool,
    dataset: Path | None,
    plan: bool,
    markdown: bool,
    as_json: bool,
) -> None:
    """Show how B differs from A, what step callers need, and whether B may take A's place.

    Reads the layers whose digests differ: largest and mean difference and signal-to-quantization-noise ratio (SQNR)
    of B against A, of dequantized values. The last line says whether a swap is safe. The exit code is 0 whatever
    it says: compare informs, and the deploy gate decides.
    """
    from hyperion.cli.markdown_comparison import comparison_markdown
    from hyperion.cli.render_comparison import show_comparison
    from hyperion.usecases.compare import compare_versions

    if markdown and as_json:
        raise click.UsageError("which form: expected --markdown or --json, found both")
    reporter = make_reporter(as_json=as_json or markdown)
    found = compare_versions(open_host(), first, second, reporter, quick=quick, dataset=dataset, plan=plan)
    if markdown:
        emit(comparison_markdown(found, tensors=layers))
        return
    answer(found, as_json, partial(show_comparison, tensors=layers))
