"""The ways into Hyperion that a bad package may try, and what is left of each."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

from hyperion.adapters.files.atomic_file import AtomicFiles
from hyperion.adapters.store.local_store import LocalPackageStore
from hyperion.domain.finding import Outcome
from hyperion.errors import HyperionError
from hyperion.format.block_pump import BlockPump
from hyperion.format.package import PackageReader
from hyperion.format.verified import check_content, pump_entry
from hyperion.usecases.extract import extract_model
from hyperion.verification.integrity import check_integrity
from tests.fakes.reporter import CollectingReporter
from tests.partial_host import files_host

Refusal = tuple[str, str | None]
"""Code of the error and the entry that it names."""


def read_wholly(package: PackageReader, pump: BlockPump) -> None:
    """Read every entry and check what it holds.

    Raises:
        PackageError: Something is not as the format wants it.
    """
    for name in package.names():
        pump_entry(package, name, pump)
    for name in package.names():
        check_content(package, name)


def refusals(path: Path, home: Path, output: Path) -> dict[str, Refusal | None]:
    """How integrity, extraction and the store answer a package; None where they take it."""
    host = files_host(home)
    failed = [f for f in check_integrity(host, path, CollectingReporter()) if f.outcome is Outcome.FAILED]
    found: dict[str, Refusal | None] = {"integrity": (failed[0].code or "", failed[0].entry) if failed else None}
    found["extract"] = found["admit"] = None
    try:
        extract_model(host, path, output, CollectingReporter())
    except HyperionError as error:
        found["extract"] = (error.code, error.entry)
    try:
        with host.packages.open(path) as package:
            LocalPackageStore(home, AtomicFiles()).admit(package)
    except HyperionError as error:
        found["admit"] = (error.code, error.entry)
    return found


def tree(root: Path) -> dict[str, tuple[int, int, int]]:
    """Everything under ``root``, by name: kind and rights, size, time of change."""
    return {path.relative_to(root).as_posix(): _state(path) for path in _below(root)}


def _below(root: Path) -> Iterator[Path]:
    for path in root.iterdir():
        yield path
        if path.is_dir() and not path.is_symlink():
            yield from _below(path)


def _state(path: Path) -> tuple[int, int, int]:
    status = path.lstat()
    if stat.S_ISDIR(status.st_mode):  # a folder's time tells of files that came and went, as temporaries may
        return status.st_mode, 0, 0
    return status.st_mode, status.st_size, status.st_mtime_ns
