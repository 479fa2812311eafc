"""Packages where users keep them: one file, an extracted directory, or a backup folder."""

from __future__ import annotations

import stat
from pathlib import Path

from hyperion.adapters.atomic_file import translated
from hyperion.domain.manifest import MANIFEST
from hyperion.errors import MalformedPackageError, NotFoundError
from hyperion.format.archive import ArchiveReader
from hyperion.format.content import executable_kind
from hyperion.format.directory import DirectoryReader
from hyperion.format.package import PackageReader

BACKUP_PACKAGE = "package.hyperion"
"""The package file inside a backup folder."""

_LFS_POINTER = b"version https://git-lfs"
_HEAD_BYTES = 512


class LocalPackages:
    """Implements ports.PackageOpener on the local file system."""

    def open(self, path: Path) -> PackageReader:
        """Open a package in whichever form it is; see ports.PackageOpener."""
        with translated(path):
            try:
                mode = path.stat().st_mode
            except (FileNotFoundError, NotADirectoryError):
                raise NotFoundError(
                    f"there is no package at {path}", hint="check the path", code="package.not_found"
                ) from None
            if stat.S_ISDIR(mode):
                return _open_folder(path)
            if not stat.S_ISREG(mode):
                raise _no_package(path, "it is neither a file nor a folder")
            return _open_file(path, path)


def _open_folder(path: Path) -> PackageReader:
    if (path / MANIFEST).exists():
        return DirectoryReader(path.absolute(), str(path))
    backup = path / BACKUP_PACKAGE
    if backup.is_file():
        return _open_file(backup, path)
    raise _no_package(path, f"the folder holds neither {MANIFEST} nor {BACKUP_PACKAGE}")


def _open_file(path: Path, named: Path) -> PackageReader:
    stream = path.open("rb", buffering=0)
    try:
        head = stream.read(_HEAD_BYTES) or b""
        _require_zip(head, path)
    except BaseException:
        stream.close()
        raise
    return ArchiveReader(stream, str(named), path.absolute())


def _require_zip(head: bytes, path: Path) -> None:
    """Say in plain words what the file is where it is not even the beginning of a zip."""
    if head.startswith(b"PK\x03\x04"):
        return
    if not head:
        raise _no_package(path, "it is empty")
    if head.startswith(_LFS_POINTER):
        raise _no_package(path, "it is a Git LFS pointer, not the file itself", "fetch it with 'git lfs pull'")
    kind = executable_kind(head)
    raise _no_package(path, f"it is {kind}" if kind else "it does not begin as one")


def _no_package(path: Path, why: str, hint: str | None = None) -> MalformedPackageError:
    return MalformedPackageError(
        f"{path} is no Hyperion package: {why}",
        hint=hint or "make one with 'hyperion package model --input DIR --output FILE.hyperion'",
        code="package.not_a_package",
    )
