"""Folders of one process that nobody else reads: made with their owner's number in the name, swept once it is gone."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def private_folder(place: Path, prefix: str) -> Iterator[Path]:
    """A new folder (0700) in ``place``, removed afterwards whatever happens; leftovers are swept first.

    Args:
        place: An existing folder.
        prefix: Begins the name: ``hyperion-job-``. After it come the number of this process and something random.

    Raises:
        OSError: It cannot be made.
    """
    sweep(place, prefix)
    folder = Path(tempfile.mkdtemp(prefix=owned_prefix(prefix), dir=place))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def owned_prefix(prefix: str) -> str:
    """How names of this process begin: ``hyperion-job-4711-``."""
    return f"{prefix}{os.getpid()}-"


def sweep(place: Path, prefix: str) -> None:
    """Remove what processes left behind that were killed; what a living one owns, or nobody's name says, is kept.

    Names are read as they are: a prefix is no pattern. A link is not followed. What cannot be removed stays.
    """
    with os.scandir(place) as entries:
        names = [entry.name for entry in entries if entry.name.startswith(prefix)]
    for name in names:
        owner, dash, _ = name.removeprefix(prefix).partition("-")
        if dash and owner.isascii() and owner.isdigit() and not Path(f"/proc/{owner}").exists():
            shutil.rmtree(place / name, ignore_errors=True)
