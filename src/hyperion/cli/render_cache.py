"""How the cache of a host looks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hyperion.cli.render import line, pairs, table
from hyperion.cli.text import bytes_for_people
from hyperion.domain.digest import short

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console

    from hyperion.usecases.cache import CacheBuilt, CacheContents, CachedImage, CacheRemoval


def show_contents(console: Console, contents: CacheContents) -> None:
    """One row an image, then the sums."""
    _show_images(console, contents.images)
    show_size(console, contents)


def show_size(console: Console, contents: CacheContents) -> None:
    """What is taken on disk."""
    images = f"{_count(len(contents.images))}, {bytes_for_people(contents.images_bytes)}"
    line(console, f"{images}; prepared graphs, {bytes_for_people(contents.graphs_bytes)}", "bold")


def show_verified(console: Console, contents: CacheContents) -> None:
    """What was found wrong, or that nothing was."""
    _show_images(console, contents.images)
    if contents.faulty:
        names = ", ".join(short(image.image) for image in contents.faulty)
        line(console, f"faulty: {names}; no worker loads them, 'hyperion cache prune' removes them", "bold red")
    else:
        line(console, f"every byte of {_count(len(contents.images))} is what the ledger names", "bold green")


def show_removal(console: Console, removal: CacheRemoval) -> None:
    """What was removed and what stays."""
    _show_images(console, removal.images)
    freed = bytes_for_people(removal.freed_bytes)
    line(console, f"removed {_count(len(removal.images))}, {freed} freed; {removal.kept} kept", "bold")


def show_built(console: Console, built: CacheBuilt) -> None:
    """The image that was made, or was there."""
    record = built.record
    rows = (
        ("  package", f"{record.model} {record.version}, {record.package}"),
        ("  image", built.image),
        ("  size", bytes_for_people(record.size_bytes)),
        ("  proven on", record.proof),
        ("  threads", record.threads),
    )
    pairs(console, rows)
    line(console, "built and proven" if built.new else "it was there already", "bold green")


def _count(images: int) -> str:
    return "1 host image" if images == 1 else f"{images} host images"


def _show_images(console: Console, images: Iterable[CachedImage]) -> None:
    rows = [
        (
            short(image.image),
            "-" if image.record is None else f"{image.record.model} {image.record.version}",
            "-" if image.record is None else image.record.threads,
            bytes_for_people(image.size_bytes),
            image.used_at,
            image.state.value if image.reason is None else f"{image.state.value}: {image.reason}",
        )
        for image in images
    ]
    if rows:
        columns = ("image", "model", "threads", "size", "last used", "state")
        table(console, columns, rows, right=("threads", "size"))
