"""Packages where users keep them: one file, an extracted directory, or a backup folder."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from hyperion.adapters.files.atomic_file import leftovers, translated
from hyperion.adapters.files.package_lock import locked
from hyperion.domain.manifest import MANIFEST, SIGNING
from hyperion.errors import ConflictError, MalformedPackageError, NotFoundError
from hyperion.format.archive import ArchiveReader
from hyperion.format.content import executable_kind
from hyperion.format.directory import DirectoryReader
from hyperion.format.package import PackageReader
from hyperion.format.random_access import RandomAccess
from hyperion.format.recovery import find_interrupted

if TYPE_CHECKING:
    from hyperion.ports.files import PackageChange

Reader = TypeVar("Reader", ArchiveReader, DirectoryReader)

BACKUP_PACKAGE = "package.hyperion"
"""The package inside a backup folder: one file, or a directory whose files backups share."""

_NO_MATTER_OF_CHANGE = ("package.not_a_package", "package.manifest", "package.chunks", "package.too_large", "json.")
"""How the codes begin of what no half-done change explains: a manifest whose CRC is right says these things itself."""
_LFS_POINTER = b"version https://git-lfs"
_HEAD_BYTES = 512


class LocalPackages:
    """Implements ports.PackageOpener on the local file system."""

    def open(self, path: Path) -> PackageReader:
        """Open a package in whichever form it is; see ports.PackageOpener."""
        with translated(path):
            if not _is_folder(path):
                return _open_file(path, path)
            if (path / MANIFEST).exists():
                return _open_directory(path, path)
            kept = _kept_package(path)
            return _open_directory(kept, path) if kept.is_dir() else _open_file(kept, path)

    @contextmanager
    def changing(self, path: Path) -> Iterator[PackageChange]:
        """Open a package for a change; see ports.PackageOpener."""
        from hyperion.adapters.files.package_change import changing_directory, changing_file

        with translated(path):
            is_folder = _is_folder(path)
            if is_folder and not (path / MANIFEST).exists():
                raise ConflictError(
                    f"{_kept_package(path).parent} is a backup; its package is never changed",
                    hint=f"copy {BACKUP_PACKAGE} out of it and change the copy",
                    code="package.backup",
                )
            if not is_folder:
                with path.open("rb", buffering=0) as stream:
                    _require_zip(stream.read(_HEAD_BYTES) or b"", path)
        with changing_directory(path) if is_folder else changing_file(path) as change:
            yield change


def _is_folder(path: Path) -> bool:
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise NotFoundError(f"there is no package at {path}", hint="check the path", code="package.not_found") from None
    if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
        raise _no_package(path, "it is neither a file nor a folder")
    return stat.S_ISDIR(mode)


def _kept_package(path: Path) -> Path:
    """The package in a backup folder, a file or a directory."""
    kept = path / BACKUP_PACKAGE
    if kept.is_file() or (kept / MANIFEST).is_file():
        return kept
    raise _no_package(path, f"the folder holds neither {MANIFEST} nor {BACKUP_PACKAGE}")


def _open_directory(path: Path, named: Path) -> DirectoryReader:
    def read() -> DirectoryReader:
        return DirectoryReader(path.absolute(), str(named))

    def is_interrupted() -> bool:
        return any(leftovers(path / name) for name in (MANIFEST, SIGNING))

    return _opened(path, named, read, is_interrupted)


def _open_file(path: Path, named: Path) -> ArchiveReader:
    def read() -> ArchiveReader:
        stream = path.open("rb", buffering=0)
        try:
            _require_zip(stream.read(_HEAD_BYTES) or b"", path)
        except BaseException:
            stream.close()
            raise
        return ArchiveReader(stream, str(named), path.absolute())

    def is_interrupted() -> bool:
        with path.open("rb", buffering=0) as stream:
            return find_interrupted(RandomAccess(stream)) is not None

    return _opened(path, named, read, is_interrupted)


def _opened(path: Path, named: Path, read: Callable[[], Reader], is_interrupted: Callable[[], bool]) -> Reader:
    """The package; where it is refused, a change that is under way is waited for, and one that was interrupted named.

    Args:
        path: The file or folder itself.
        named: Its path as the user gave it.
        read: Opens it.
        is_interrupted: Whether it is as an interrupted change leaves it.
    """
    try:
        return read()
    except MalformedPackageError as error:
        if error.code.startswith(_NO_MATTER_OF_CHANGE):
            raise
    with locked(path.resolve(), exclusive=False):
        try:
            return read()
        except MalformedPackageError as error:
            if not is_interrupted():
                raise
            raise MalformedPackageError(
                f"{named}: a change of its version or signing was interrupted; the package itself is not lost",
                hint=f"'hyperion version recover {named}' finishes it or takes it back",
                code="package.update_interrupted",
            ) from error


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
