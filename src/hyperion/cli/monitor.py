"""``hyperion monitor …``: figures of a deployment, round by round."""

from __future__ import annotations

from pathlib import Path

import click

from hyperion.bootstrap import open_host
from hyperion.cli.command import (
    PATH,
    Command,
    count_option,
    group,
    interval_option,
    json_option,
    model_option,
    name_option,
)
from hyperion.cli.endless import until_stopped
from hyperion.cli.progress import make_reporter
from hyperion.cli.render_monitor import show_errors, show_live, show_rounds

monitor = group("Watch a deployment while it serves.", "monitor")


@monitor.command(
    "model",
    cls=Command,
    examples=(
        "hyperion monitor model --model model.hyperion --metrics metrics.json",
        "hyperion monitor model --model model.hyperion --count 1 --json",
    ),
    exit_codes=(3, 5, 6, 9),
)
@model_option
@click.option("--metrics", type=PATH, metavar="FILE", help="Keep the latest figures there; no other file is replaced.")
@interval_option(2)
@count_option
@name_option
@json_option
def monitor_model(
    model: Path, metrics: Path | None, interval_s: float, count: int | None, name: str | None, as_json: bool
) -> None:
    """Show a live view of a deployment, and keep the current figures in metrics.json.

    Into a pipe, or with --json, one JSON line a round. Ctrl-C ends it with exit code 0.
    """
    with until_stopped(endless=count is None):
        from hyperion.usecases.monitor import monitor_model as watch

        rounds = watch(
            open_host(), model, name, interval_s, metrics=metrics, count=count, reporter=make_reporter(as_json=as_json)
        )
        show_live(rounds, as_json)


@monitor.command(
    "performance",
    cls=Command,
    examples=("hyperion monitor performance --model model.hyperion --interval 60",),
    exit_codes=(3, 5, 6, 9),
)
@model_option
@interval_option(60)
@count_option
@name_option
@json_option
def monitor_performance(model: Path, interval_s: float, count: int | None, name: str | None, as_json: bool) -> None:
    """Measure latency, throughput, CPU and caches, a row every S seconds.

    The first row comes at once and covers the time since the deployment. Into a pipe, or with --json, one JSON line
    a round. Ctrl-C ends it with exit code 0.
    """
    with until_stopped(endless=count is None):
        from hyperion.usecases.monitor import performance_rounds

        reporter = make_reporter(as_json=as_json)
        show_rounds(performance_rounds(open_host(), model, name, interval_s, count=count, reporter=reporter), as_json)


@monitor.command(
    "resources",
    cls=Command,
    examples=("hyperion monitor resources --model model.hyperion --interval 30",),
    exit_codes=(3, 5, 6, 9),
)
@model_option
@interval_option(30)
@count_option
@name_option
@json_option
def monitor_resources(model: Path, interval_s: float, count: int | None, name: str | None, as_json: bool) -> None:
    """Measure memory, disk, network and CPU cycles, a row every S seconds.

    The first row comes at once and covers the time since the deployment. Into a pipe, or with --json, one JSON line
    a round. Ctrl-C ends it with exit code 0.
    """
    with until_stopped(endless=count is None):
        from hyperion.usecases.monitor import resource_rounds

        reporter = make_reporter(as_json=as_json)
        show_rounds(resource_rounds(open_host(), model, name, interval_s, count=count, reporter=reporter), as_json)


@monitor.command(
    "errors",
    cls=Command,
    examples=("hyperion monitor errors --model model.hyperion --log errors.log",),
    exit_codes=(3, 5, 6, 9),
)
@model_option
@click.option("--log", type=PATH, metavar="FILE", help="Append each error there as a JSON line.")
@interval_option(5)
@count_option
@name_option
@json_option
def monitor_errors(
    model: Path, log: Path | None, interval_s: float, count: int | None, name: str | None, as_json: bool
) -> None:
    """Tell of failed requests, crashed workers and aborted rollouts, each with its cause.

    With a log that exists it goes on where that ends. Into a pipe, or with --json, one JSON line a round.
    Ctrl-C ends it with exit code 0.
    """
    with until_stopped(endless=count is None):
        from hyperion.usecases.monitor import error_rounds

        reporter = make_reporter(as_json=as_json)
        rounds = error_rounds(open_host(), model, name, interval_s, log=log, count=count, reporter=reporter)
        show_errors(rounds, as_json)
