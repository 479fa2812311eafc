"""``hyperion package model``, ``extract model`` and ``inspect``."""

from __future__ import annotations

from pathlib import Path

import click

from hyperion.bootstrap import open_host
from hyperion.cli.command import PATH, Command, group, json_option
from hyperion.cli.progress import make_reporter
from hyperion.cli.render import answer
from hyperion.cli.render_package import show_extracted, show_overview, show_summary

package = group("Pack a model directory into one .hyperion file.", "package")
extract = group("Unpack a package, verifying every byte.", "extract")


@package.command(
    "model",
    cls=Command,
    examples=(
        "hyperion package model --input model_dir --output model.hyperion",
        "hyperion package model --input model_dir --output v2.hyperion --version 1.1.0 --parent model.hyperion",
        "hyperion package model --input model_dir --output float.hyperion --quantize none --json",
        "hyperion package model --input hugging_face_dir --output model.hyperion --quantize int8",
        "hyperion package model --input forest.skops --output f.hyperion --trust-type sklearn.tree._tree.Tree",
        "hyperion package model --input model_dir --output small.hyperion --dataset test_data/ --max-loss 0.005",
    ),
    exit_codes=(1, 3, 4, 5, 6, 9),
)
@click.option("--input", "input_dir", type=PATH, required=True, metavar="DIR", help="A model directory, or a model.")
@click.option("--output", type=PATH, required=True, metavar="F.hyperion", help="The package to write.")
@click.option("--name", help="Name of the model; else hyperion.json's, else the folder's.")
@click.option("--version", help="Semantic version; else hyperion.json's, else 1.0.0.")
@click.option("--author", help="Who made the model.")
@click.option("--description", help="What the model does.")
@click.option("--license", help="SPDX identifier, such as Apache-2.0.")
@click.option("--parent", type=PATH, metavar="PREV", help="The package that this one follows.")
@click.option("--platform", metavar="P", help="Target such as linux/amd64, or a profile file.")
@click.option(
    "--quantize",
    type=click.Choice(["auto", "int8", "w8", "w4", "static-int8", "fp16", "none"]),
    help="How weights are stored; by default auto: the smallest that keeps the budget, or without one the answers.",
)
@click.option(
    "--dataset", type=PATH, metavar="D", help="Folder of *.npz or *.csv to calibrate, choose and judge on; it is split."
)
@click.option(
    "--metric",
    type=click.Choice(["accuracy", "f1", "top1", "cosine", "kl"]),
    help="What the budget is about; by default accuracy with labels, else top1 or cosine.",
)
@click.option("--max-loss", type=click.FloatRange(min=0), metavar="X", help="Largest loss allowed, such as 0.005.")
@click.option(
    "--max-class-loss", type=click.FloatRange(0, 1), metavar="X", help="Largest loss of recall allowed to any class."
)
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), metavar="N", help="Of the split; by default 0.")
@click.option(
    "--no-sample", is_flag=True,
    help="Keep rows of your data out of the package; no other host can then check the budget.",
)  # fmt: skip
@click.option("--task", metavar="T", help="Of a Hugging Face model: embedding, sequence- or token-classification.")
@click.option("--trust-pickle", is_flag=True, help="Read a pickle (.pkl, .joblib, .pt2, .bin), in a sandbox.")
@click.option("--trust-type", "trusted_types", multiple=True, metavar="T", help="A type in a .skops file to trust.")
@click.option("--as-new", is_flag=True, help="Make a new package of an extracted one whose entries were edited.")
@json_option
def package_model(
    input_dir: Path,
    output: Path,
    quantize: str | None,
    dataset: Path | None,
    metric: str | None,
    max_loss: float | None,
    max_class_loss: float | None,
    seed: int | None,
    no_sample: bool,
    task: str | None,
    trust_pickle: bool,
    trusted_types: tuple[str, ...],
    as_new: bool,
    as_json: bool,
    **metadata: str | Path | None,
) -> None:
    """Pack a model directory into one .hyperion file.

    DIR holds model.onnx and, where you like, hyperion.json (name, version, author, …), config/*.json, assets/,
    golden/ (recorded inputs and expected outputs), README and LICENSE. An extracted package becomes the very file
    that it came from; where an entry was edited, that is refused, or with --as-new a new package with the old one as
    its parent.

    Models of other tools are converted in a sandbox: a Hugging Face directory (needs hyperion-deploy[transformers]),
    a scikit-learn estimator in .skops, .joblib or .pkl (hyperion-deploy[sklearn]), a PyTorch program in .pt2
    (hyperion-deploy[torch]).

    With a budget (--max-loss, or config/quantization.json) nothing is written where quantizing costs more: exit 1.
    """
    from hyperion.ports import ConversionOptions
    from hyperion.usecases.package import PackageOptions
    from hyperion.usecases.package import package_model as pack
    from hyperion.usecases.packaging import BudgetOptions

    budget = BudgetOptions(dataset, metric, max_loss, max_class_loss, seed, False if no_sample else None)  # type: ignore[arg-type]
    conversion = ConversionOptions(trust_pickle, trusted_types, task)
    given = {"as_new": as_new, "budget": budget, "conversion": conversion, "trial": True, **metadata}
    options = PackageOptions(input_dir, output, quantize, **given)  # type: ignore[arg-type]
    answer(pack(open_host(), options, make_reporter(as_json=as_json)), as_json, show_summary)


@extract.command(
    "model",
    cls=Command,
    examples=("hyperion extract model --input model.hyperion --output model_dir",),
    exit_codes=(3, 5, 6, 9),
)
@click.option("--input", "source", type=PATH, required=True, metavar="F", help="The package.")
@click.option("--output", type=PATH, required=True, metavar="DIR", help="The folder to make.")
@json_option
def extract_model(source: Path, output: Path, as_json: bool) -> None:
    """Unpack a package into a folder, verifying every byte on the way.

    The folder is a package too: every command takes either form. Nothing is left behind where a digest is wrong.
    """
    from hyperion.usecases.extract import extract_model as unpack

    answer(unpack(open_host(), source, output, make_reporter(as_json=as_json)), as_json, show_extracted)


@click.command(
    cls=Command,
    examples=("hyperion inspect model.hyperion", "hyperion inspect model.hyperion --json"),
    exit_codes=(3, 5, 9),
)
@click.argument("path", type=PATH, metavar="F")
@json_option
def inspect(path: Path, as_json: bool) -> None:
    """Show what is in a package: metadata, inputs and outputs, layers, sizes, history."""
    from hyperion.usecases.inspect import inspect_package

    answer(inspect_package(open_host(), path), as_json, show_overview)
