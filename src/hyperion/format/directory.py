"""The package as an extracted tree: manifest.json and exactly the entries that it lists."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from hyperion.domain.manifest import MANIFEST, SIGNING
from hyperion.errors import DigestMismatchError, MalformedPackageError
from hyperion.format.limits import MAX_ENTRIES, MAX_MANIFEST_BYTES, MAX_SIGNING_BYTES
from hyperion.format.manifest_json import read_manifest
from hyperion.format.opened import OpenedPackage
from hyperion.format.package import EntryLocation


class DirectoryReader(OpenedPackage):
    """An opened package directory.

    Args:
        path: The folder that holds manifest.json.
        source: The path as the user named it, for messages; ``path`` by default.

    Raises:
        MalformedPackageError: A broken manifest, a file that it does not list, one that is missing, a link or
            special file.
        DigestMismatchError: A file is longer or shorter than its entry.
        UnknownFormatVersionError: Another version of the format wrote it.
    """

    def __init__(self, path: Path, source: str | None = None) -> None:
        self._path = path
        source = str(path) if source is None else source
        found = dict(plain_files(path, source))
        if MANIFEST not in found:  # there may be a folder of that name
            raise MalformedPackageError(
                f"{source}: expected a package directory, found no {MANIFEST} in it", code="package.not_a_package"
            )
        for name, limit in ((MANIFEST, MAX_MANIFEST_BYTES), (SIGNING, MAX_SIGNING_BYTES)):
            if found.get(name, 0) > limit:
                raise MalformedPackageError(
                    f"{source}: {name} has {found[name]} bytes; at most {limit} are read",
                    entry=name,
                    code="package.too_large",
                )
        raw = (path / MANIFEST).read_bytes()
        signing = (path / SIGNING).read_bytes() if SIGNING in found else None
        super().__init__(source, read_manifest(raw, source), raw, signing)
        self._check_entries(found)

    @property
    def path(self) -> Path:
        """The folder."""
        return self._path

    @property
    def damage_hint(self) -> str:
        return (
            "extract the package again, or, where it was edited on purpose, make a new package of it: "
            "'hyperion package model --input DIR --output F.hyperion --as-new'"
        )

    def locate(self, name: str) -> EntryLocation:
        return EntryLocation(self._path / name, 0, self.entry(name).size_bytes)

    def _check_entries(self, found: dict[str, int]) -> None:
        listed = self.manifest.entries
        for name in found:
            if name not in (MANIFEST, SIGNING) and name not in listed:
                raise MalformedPackageError(
                    f"{self.source}: the file {name!r} is not listed in {MANIFEST}",
                    hint="move it out of the package directory",
                    entry=name,
                    code="package.unlisted_entry",
                )
        for name, entry in listed.items():
            if name not in found:
                raise MalformedPackageError(
                    f"{self.source}: the entry {name!r} of {MANIFEST} is missing",
                    hint="extract the package again",
                    entry=name,
                    code="package.missing_entry",
                )
            if found[name] != entry.size_bytes:
                raise DigestMismatchError(
                    f"{self.source}: the entry {name!r} is damaged or was edited: "
                    f"expected {entry.size_bytes} bytes, found {found[name]}",
                    hint=self.damage_hint,
                    entry=name,
                    expected=entry.size_bytes,
                    actual=found[name],
                )


def plain_files(root: Path, source: str) -> Iterator[tuple[str, int]]:
    """Name and size of every file under ``root``, links and special files refused."""
    folders, seen = [""], 0
    while folders:
        folder = folders.pop()
        with os.scandir(root / folder) as found:
            for item in sorted(found, key=lambda item: item.name):
                seen += 1
                name = folder + item.name
                status = item.stat(follow_symlinks=False)
                if seen > 2 * MAX_ENTRIES:
                    raise MalformedPackageError(f"{source}: has too many files", code="package.too_large")
                if stat.S_ISDIR(status.st_mode):
                    folders.append(f"{name}/")
                elif stat.S_ISREG(status.st_mode):
                    yield name, status.st_size
                else:
                    raise MalformedPackageError(
                        f"{source}: {name!r} is {_kind(status.st_mode)}; packages hold plain files only",
                        hint="remove it, or put the file itself in its place",
                        entry=name,
                        code="package.special_file",
                    )


def _kind(mode: int) -> str:
    return "a symbolic link" if stat.S_ISLNK(mode) else "no plain file"
