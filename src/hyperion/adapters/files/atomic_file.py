"""The one writer of files and folders that must be whole or absent.

Temporaries lie beside their target as ``.NAME.tmp-RANDOM`` and are locked while in use, so that those a killed process
left behind are told from live ones and swept by the next writer of the same target.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from hyperion.errors import ConflictError, HostError
from hyperion.format.free_space import no_space

_BUFFER_BYTES = 64 * 1024
_RENAME_EXCHANGE = 2
_AT_FDCWD = -100
_NAME_CHARACTERS = 60
_PRIVATE = 0o700


class AtomicFiles:
    """Implements ports.Files on the local file system."""

    @contextlib.contextmanager
    def replacing(self, path: Path) -> Iterator[BinaryIO]:
        """Write ``path`` atomically; see ports.Files. An existing file's permissions are kept."""
        if path.is_dir():
            raise ConflictError(f"{path} is a folder; expected a file, or nothing there", code="conflict.exists")
        with translated(path):
            sweep(path)
            temporary, descriptor = _create(path, folder=False)
            with _removed_on_failure(temporary, path), os.fdopen(descriptor, "w+b", buffering=_BUFFER_BYTES) as stream:
                _keep_mode(path, descriptor)
                yield stream
                stream.flush()
                os.fsync(descriptor)
                temporary.replace(path)
            sync_folder(path.parent)

    def create(self, path: Path, data: bytes, mode: int) -> None:
        """Write a new file; see ports.Files."""
        with translated(path):
            try:
                descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
            except FileExistsError as error:
                raise ConflictError(f"{path} exists already", code="conflict.exists") from error
            with _removed_on_failure(path, path):
                with os.fdopen(descriptor, "wb") as stream:
                    stream.write(data)
                    stream.flush()
                    os.fsync(descriptor)
                sync_folder(path.parent)

    def make_folder(self, path: Path) -> None:
        """Make a folder durably; see ports.Files."""
        with translated(path):
            path.mkdir()
            sync_folder(path.parent)

    @contextlib.contextmanager
    def scratch(self, path: Path) -> Iterator[Path]:
        """A private folder beside ``path`` for as long as it is being made; see ports.Files."""
        with translated(path):
            sweep(path)
            folder, descriptor = _create(path, folder=True, mode=_PRIVATE)
        try:
            yield folder.resolve()
        finally:
            _remove(folder)
            os.close(descriptor)

    @contextlib.contextmanager
    def staging(self, path: Path, *, replace: bool = False, keep_as: Path | None = None) -> Iterator[Path]:
        """Fill a fresh sibling folder that becomes ``path``; see ports.Files. An empty folder may be in its place."""
        if keep_as is not None:
            _require_absent(keep_as)
        elif not replace:
            _require_absent(path)
        with translated(path):
            sweep(path)
            temporary, descriptor = _create(path, folder=True)
            try:
                with _removed_on_failure(temporary, path):
                    yield temporary
                    _sync_tree(temporary)
                    if keep_as is not None and os.path.lexists(path):
                        _move_folder(temporary, keep_as)
                        _exchange(keep_as, path)
                    elif replace and os.path.lexists(path):
                        _exchange(temporary, path)
                        _remove(temporary)  # what was there before
                    else:
                        _move_folder(temporary, path)
            finally:
                os.close(descriptor)
            sync_folder(path.parent)

    def discard(self, path: Path, swept_by: Path) -> None:
        """Remove a folder, its name first; see ports.Files."""
        with translated(path):
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                _lock(descriptor)  # so that no sweeper removes it too, once it has a temporary's name
                hidden = path.parent / (_prefix(swept_by) + secrets.token_hex(8))
                path.rename(hidden)
                sync_folder(path.parent)
                shutil.rmtree(hidden)
            finally:
                os.close(descriptor)


def sync_folder(path: Path) -> None:
    """Make renames in a folder durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn what the operating system refuses while ``path`` is written or read into a HostError."""
    try:
        yield
    except OSError as error:
        raise _host_error(error, path) from error


def _host_error(error: OSError, path: Path) -> HostError:
    reason = error.strerror or str(error)
    found = Path(os.fsdecode(error.filename)) if isinstance(error.filename, (str, bytes)) else path
    place = _as_named(found, path)
    if error.errno == errno.EFBIG:
        return HostError(
            f"cannot write {path}: it would be larger than this process may write",
            hint="raise the limit on file sizes (ulimit -f)",
            code="host.file_too_large",
        )
    if error.errno in (errno.ENOENT, errno.ENOTDIR) and not path.parent.is_dir():
        return HostError(
            f"cannot write {path}: there is no folder {path.parent}", hint="make it first", code="host.no_folder"
        )
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return HostError(
            f"no space for {path}: {reason}", hint="free some space, or choose a place on another disk",
            code="host.no_space",
        )  # fmt: skip
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        if found != place == path:  # it is the temporary that cannot be made
            return HostError(
                f"cannot write {path}: no permission to make files in the folder {path.parent}: {reason}",
                hint="change the folder's permissions, or choose another place",
                code="host.permission",
            )
        return HostError(
            f"no permission for {place}: {reason}",
            hint="change its permissions, or choose another place",
            code="host.permission",
        )
    return HostError(f"cannot access {place}: {reason}", code="host.io")


def _as_named(found: Path, path: Path) -> Path:
    """The target, or what is in it, where ``found`` is in its temporary: that name is nobody's business."""
    depth = len(path.parent.parts)
    parts = found.parts[depth:]
    if found.parts[:depth] == path.parent.parts and parts and parts[0].startswith(_prefix(path)):
        return path.joinpath(*parts[1:])
    return found


@contextlib.contextmanager
def _removed_on_failure(temporary: Path, path: Path) -> Iterator[None]:
    """Leave nothing behind; a full disk is reported with what was written and what is free without it."""
    try:
        yield
    except BaseException as error:
        written = _written_bytes(temporary)
        _remove(temporary)
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            found = os.statvfs(path.parent)
            raise no_space(str(path), written + 1, found.f_bavail * found.f_frsize, or_more=True) from error
        raise


def _prefix(path: Path) -> str:
    return f".{path.name[:_NAME_CHARACTERS]}.tmp-"


def _create(path: Path, *, folder: bool, mode: int = 0o777) -> tuple[Path, int]:
    """A fresh, locked temporary beside ``path`` and its descriptor."""
    while True:
        temporary = path.parent / (_prefix(path) + secrets.token_hex(8))
        if folder:
            temporary.mkdir(mode)
            descriptor = os.open(temporary, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        else:
            descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        if _lock(descriptor) and temporary.exists():
            return temporary, descriptor
        os.close(descriptor)  # a sweeper took it for a leftover in the moment before it was locked


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def leftovers(path: Path) -> list[Path]:
    """Temporaries of this target, of killed processes and of live ones."""
    prefix = _prefix(path)
    return [item for item in path.parent.iterdir() if item.name.startswith(prefix)]


def sweep(path: Path) -> None:
    """Remove temporaries of this target whose process is gone."""
    for leftover in leftovers(path):
        with contextlib.suppress(OSError):
            descriptor = os.open(leftover, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                if _lock(descriptor):
                    _remove(leftover)
            finally:
                os.close(descriptor)


def _remove(temporary: Path) -> None:
    if temporary.is_dir() and not temporary.is_symlink():
        shutil.rmtree(temporary, ignore_errors=True)
    else:
        temporary.unlink(missing_ok=True)


def _written_bytes(temporary: Path) -> int:
    files = [temporary, *temporary.rglob("*")] if temporary.is_dir() else [temporary]
    return sum(file.lstat().st_size for file in files if file.is_file())


def _keep_mode(path: Path, descriptor: int) -> None:
    if path.is_file():
        os.fchmod(descriptor, stat.S_IMODE(path.stat().st_mode))


def _require_absent(path: Path) -> None:
    if not os.path.lexists(path):
        return
    if path.is_dir() and not path.is_symlink() and next(path.iterdir(), None) is None:
        return
    raise ConflictError(
        f"{path} exists already and is no empty folder",
        hint="choose another output, or move this one away",
        code="conflict.exists",
    )


def _sync_tree(root: Path) -> None:
    for folder, _, files in os.walk(root, topdown=False):
        for name in files:
            descriptor = os.open(Path(folder, name), os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        sync_folder(Path(folder))


def _move_folder(temporary: Path, path: Path) -> None:
    try:
        temporary.rename(path)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise ConflictError(f"{path} was made by another process meanwhile", code="conflict.exists") from error
        raise


def _exchange(temporary: Path, path: Path) -> None:
    """Swap both names in one step (renameat2); where the file system cannot, in two."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(_AT_FDCWD, os.fsencode(temporary), _AT_FDCWD, os.fsencode(path), _RENAME_EXCHANGE) == 0:
        return
    code = ctypes.get_errno()
    if code not in (errno.EINVAL, errno.ENOSYS):
        raise OSError(code, os.strerror(code), str(path))
    aside = path.parent / (_prefix(path) + secrets.token_hex(8))
    path.rename(aside)
    temporary.rename(path)
    aside.rename(temporary)
