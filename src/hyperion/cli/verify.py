"""``hyperion verify …``: every one ends with 0 for yes and 1 for no."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hyperion.bootstrap import open_host
from hyperion.cli.command import PATH, Command, full_option, group, json_option, model_option, name_option
from hyperion.cli.exit_codes import NO, YES
from hyperion.cli.progress import make_reporter
from hyperion.cli.render import answer
from hyperion.cli.render_report import show_report

if TYPE_CHECKING:
    from hyperion.domain.finding import Report

verify = group("Check a package or a deployment; exit 1 when the answer is no.", "verify")


@verify.command(
    "model",
    cls=Command,
    examples=(
        "hyperion verify model --input model.hyperion",
        "hyperion verify model --input model.hyperion --trust release.pub",
        "hyperion verify model --input model_dir --json",
    ),
    exit_codes=(1, 5, 9),
)
@click.option("--input", "path", type=PATH, required=True, metavar="F", help="The package.")
@click.option(
    "--trust", "keys", type=PATH, multiple=True, metavar="PUB", help="Public key that may have signed it; repeatable."
)
@full_option
@json_option
def model(path: Path, keys: tuple[Path, ...], full: bool, as_json: bool) -> int:
    """Check a package wholly: structure, digests, signing, configs, that it loads, and its golden requests.

    The model runs in a child process with limits on memory and time.
    """
    from hyperion.usecases.key_file import load_public_key
    from hyperion.usecases.verify import verify_model

    trusted = [load_public_key(key) for key in keys]
    return _answer(verify_model(open_host(), path, make_reporter(as_json=as_json), trusted, full=full), as_json)


@verify.command(
    "integrity",
    cls=Command,
    examples=(
        "hyperion verify integrity model.hyperion",
        "hyperion verify integrity model.hyperion --quick",
        "hyperion verify integrity model.hyperion --threads 1 --json",
    ),
    exit_codes=(1, 5, 9),
)
@click.argument("path", type=PATH, metavar="F")
@click.option("--quick", is_flag=True, help="Structure, sizes and CRCs alone: finds accidents, not edits.")
@click.option(
    "--threads",
    type=click.IntRange(1, 1024),
    metavar="N",
    help="Read by N threads; by default one for each core. With 1, every digest is that of a whole entry.",
)
@json_option
def integrity(path: Path, quick: bool, threads: int | None, as_json: bool) -> int:
    """Check structure, digests and contents, every byte read now; says what is wrong and where.

    What is proven is remembered on this host, so that loading it need not read it again while it is unchanged.
    """
    from hyperion.usecases.verify import verify_integrity

    reporter = make_reporter(as_json=as_json)
    return _answer(verify_integrity(open_host(), path, reporter, quick=quick, threads=threads), as_json)


@verify.command(
    "deployment",
    cls=Command,
    examples=(
        "hyperion verify deployment --model model.hyperion --config verification.json",
        "hyperion verify deployment --model backup/current_model",
    ),
    exit_codes=(1, 5, 6, 9),
)
@model_option
@click.option("--config", "config_path", type=PATH, metavar="FILE", help="verification.json: limits and samples.")
@name_option
@json_option
def deployment(model: Path, config_path: Path | None, name: str | None, as_json: bool) -> int:
    """Check that this very package is active, ready, correct, quick enough and without errors."""
    from hyperion.domain.config import VerificationConfig
    from hyperion.usecases.config import load_config
    from hyperion.usecases.verify import verify_deployment

    config = load_config(VerificationConfig, config_path)
    return _answer(verify_deployment(open_host(), model, config, name, make_reporter(as_json=as_json)), as_json)


@verify.command(
    "performance",
    cls=Command,
    examples=("hyperion verify performance model.hyperion --dataset test_data/",),
    exit_codes=(1, 5, 9),
)
@click.argument("path", type=PATH, metavar="F")
@click.option(
    "--dataset", type=PATH, required=True, metavar="DIR", help="Folder of *.npz or *.csv; 'label' where it has labels."
)
@click.option(
    "--batch-size", type=click.IntRange(1, 65_536), default=32, show_default=True, metavar="N", help="Rows a request."
)
@json_option
def performance(path: Path, dataset: Path, batch_size: int, as_json: bool) -> int:
    """Measure speed, CPU, memory and disk on a dataset, and how right the answers are where it has labels."""
    from hyperion.usecases.verify import verify_performance

    reporter = make_reporter(as_json=as_json)
    return _answer(verify_performance(open_host(), path, dataset, reporter, batch_size=batch_size), as_json)


@verify.command(
    "memory",
    cls=Command,
    examples=("hyperion verify memory model.hyperion --config memory_config.json",),
    exit_codes=(1, 5, 9),
)
@click.argument("path", type=PATH, metavar="F")
@click.option("--config", "config_path", type=PATH, metavar="FILE", help="memory_config.json: budget_mb and runs.")
@json_option
def memory(path: Path, config_path: Path | None, as_json: bool) -> int:
    """Load and run the model in a child and hold its peak, steady and after-unload memory against the budget."""
    from hyperion.domain.config import MemoryConfig
    from hyperion.usecases.config import load_config
    from hyperion.usecases.verify import verify_memory

    config = load_config(MemoryConfig, config_path)
    return _answer(verify_memory(open_host(), path, config, make_reporter(as_json=as_json)), as_json)


@verify.command(
    "compatibility",
    cls=Command,
    examples=(
        "hyperion verify compatibility model.hyperion --platform linux/arm64",
        "hyperion verify compatibility model.hyperion --platform target_platform",
    ),
    exit_codes=(1, 5, 9),
)
@click.argument("path", type=PATH, metavar="F")
@click.option(
    "--platform", required=True, metavar="P", help="linux/amd64, linux/arm64, …, or a file that 'platform probe' wrote."
)
@json_option
def compatibility(path: Path, platform: str, as_json: bool) -> int:
    """Check a package against a target: operators, opset, engine version, CPU features, memory, disk."""
    from hyperion.usecases.verify import verify_compatibility

    return _answer(verify_compatibility(open_host(), path, platform), as_json)


def _answer(report: Report, as_json: bool) -> int:
    """Print the report; returns 0 where nothing failed, else 1."""
    answer(report, as_json, show_report, ok=report.ok)
    return YES if report.ok else NO
