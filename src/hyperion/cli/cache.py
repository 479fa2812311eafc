"""``hyperion cache list | size | build | prune | clear | verify``."""

from __future__ import annotations

from pathlib import Path

import click

from hyperion.bootstrap import open_host
from hyperion.cli.command import PATH, Command, group, json_option
from hyperion.cli.exit_codes import NO, YES
from hyperion.cli.progress import make_reporter
from hyperion.cli.render import answer
from hyperion.cli.render_cache import show_built, show_contents, show_removal, show_size, show_verified

cache = group("Host images: what this host made of packages so that workers load fast and share memory.", "cache")


@cache.command("list", cls=Command, examples=("hyperion cache list", "hyperion cache list --json"), exit_codes=(9,))
@json_option
def list_images(as_json: bool) -> None:
    """Show every host image: its package, its size, when it was last used, and whether a worker would load it."""
    from hyperion.usecases.cache import read_cache

    answer(read_cache(open_host()), as_json, show_contents)


@cache.command("size", cls=Command, examples=("hyperion cache size", "hyperion cache size --json"), exit_codes=(9,))
@json_option
def size(as_json: bool) -> None:
    """Show what host images and prepared graphs take on disk."""
    from hyperion.usecases.cache import read_cache

    answer(read_cache(open_host()), as_json, show_size)


@cache.command(
    "build",
    cls=Command,
    examples=("hyperion cache build --input model.hyperion", "hyperion cache build --input model.hyperion --threads 2"),
    exit_codes=(3, 4, 5, 6, 9),
)
@click.option("--input", "path", type=PATH, required=True, metavar="F", help="The package; it was deployed here.")
@click.option(
    "--threads", type=click.IntRange(1, 256), default=1, show_default=True, metavar="N",
    help="Threads of each worker, as in deployment.json.",
)  # fmt: skip
@json_option
def build(path: Path, threads: int, as_json: bool) -> None:
    """Make the host image of a deployed package in a child with limits, and prove it on the package's answers."""
    from hyperion.usecases.cache import build_cache

    answer(build_cache(open_host(), path, threads, make_reporter(as_json=as_json)), as_json, show_built)


@cache.command(
    "prune",
    cls=Command,
    examples=("hyperion cache prune", "hyperion cache prune --limit-mb 4096"),
    exit_codes=(9,),
)
@click.option(
    "--limit-mb", type=click.IntRange(min=0), metavar="N",
    help="Keep at most N MiB of images; the least recently used go first.",
)  # fmt: skip
@json_option
def prune(limit_mb: int | None, as_json: bool) -> None:
    """Remove host images that no worker would load: damaged, of another engine or CPU, or of a package that is gone."""
    from hyperion.usecases.cache import prune_cache

    limit = None if limit_mb is None else limit_mb * 1024 * 1024
    answer(prune_cache(open_host(), limit), as_json, show_removal)


@cache.command("clear", cls=Command, examples=("hyperion cache clear",), exit_codes=(9,))
@json_option
def clear(as_json: bool) -> None:
    """Remove all host images and prepared graphs; they are made again when they are wanted."""
    from hyperion.usecases.cache import clear_cache

    answer(clear_cache(open_host()), as_json, show_removal)


@cache.command(
    "verify", cls=Command, examples=("hyperion cache verify", "hyperion cache verify --json"), exit_codes=(1, 9)
)
@json_option
def verify(as_json: bool) -> int:
    """Read every byte of every host image and compare it with the digest that the ledger names; exit 1 at a fault."""
    from hyperion.usecases.cache import read_cache

    contents = read_cache(open_host(), full=True)
    answer(contents, as_json, show_verified, ok=not contents.faulty)
    return NO if contents.faulty else YES
