"""Changing what a package says of itself: another manifest, another signing; the payloads stay where they are."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from hyperion.adapters.files.atomic_file import AtomicFiles, leftovers, sweep, sync_folder, translated
from hyperion.adapters.files.package_lock import locked
from hyperion.domain.manifest import MANIFEST, SIGNING
from hyperion.errors import HostError, MalformedPackageError
from hyperion.format.archive import ArchiveReader
from hyperion.format.directory import DirectoryReader
from hyperion.format.free_space import no_space, require_space
from hyperion.format.kernel_copy import copy_start
from hyperion.format.random_access import RandomAccess
from hyperion.format.recovery import find_interrupted, repair
from hyperion.format.update import Ending, settle, write_ahead, written_ahead
from hyperion.ports.files import ChangeMethod, Repair

_CLONE = 0x40049409
"""FICLONE (linux/fs.h)."""


class OpenFile:
    """Implements format.update.ChangeableFile on a descriptor."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def pwrite(self, data: memoryview, offset: int, /) -> int:
        return os.pwrite(self._descriptor, data, offset)

    def fsync(self) -> None:
        os.fsync(self._descriptor)

    def truncate(self, size_bytes: int, /) -> None:
        os.ftruncate(self._descriptor, size_bytes)


class FileChange:
    """Implements ports.files.PackageChange on a package file.

    Args:
        path: The file; no symbolic link.
        named: Its path as the user gave it, for messages.
        descriptor: Of the locked file, to read and write.
    """

    def __init__(self, path: Path, named: Path, descriptor: int) -> None:
        self._path = path
        self._named = named
        self._descriptor = descriptor
        self.repair: Repair = "none"
        try:
            self.package = self._open()
        except MalformedPackageError as damage:
            self.repair = self._repaired(damage)
            self.package = self._open()

    def put(self, raw_manifest: bytes, signing: bytes | None) -> ChangeMethod:
        """See ports.files.PackageChange."""
        payloads = tuple(record for record in self.package.records() if record.name != SIGNING)
        ending = Ending(payloads, raw_manifest, signing)
        if os.fstat(self._descriptor).st_nlink > 1 or _can_clone(self._descriptor):
            return self._put_in_another(ending)
        self._put_in_place(ending)
        return "in_place"

    def _open(self) -> ArchiveReader:
        return ArchiveReader(self._stream(), str(self._named), self._path)

    def _stream(self) -> BinaryIO:
        return os.fdopen(os.dup(self._descriptor), "rb", buffering=0)

    def _repaired(self, damage: MalformedPackageError) -> Repair:
        with self._stream() as stream:
            found = find_interrupted(RandomAccess(stream))
        if found is None:
            raise damage
        with _without_interrupts(), _unfinished(self._path):
            repair(OpenFile(self._descriptor), found)
        return "taken_back" if found.ahead is None else "finished"

    def _put_in_place(self, ending: Ending) -> None:
        file, size_bytes = OpenFile(self._descriptor), os.fstat(self._descriptor).st_size
        ahead = written_ahead(size_bytes, ending)
        with _without_interrupts():
            with translated(self._path), _space_told(self._path, len(ahead)):
                write_ahead(file, size_bytes, ahead)
            with _unfinished(self._path):
                settle(file, ending)

    def _put_in_another(self, ending: Ending) -> ChangeMethod:
        """A file of its own takes the name: what else is linked to this one keeps what it has."""
        with _linked_told(self._descriptor), AtomicFiles().replacing(self._path) as stream:
            method = self._copy_start(stream, ending.begin)
            stream.seek(ending.begin)
            stream.write(ending.data)
            stream.truncate()
        return method

    def _copy_start(self, stream: BinaryIO, size_bytes: int) -> ChangeMethod:
        """Bring the payloads into another file: shared where the file system can."""
        try:
            fcntl.ioctl(stream.fileno(), _CLONE, self._descriptor)
        except OSError:
            require_space(stream.fileno(), size_bytes, "a copy of the package")
            os.lseek(self._descriptor, 0, os.SEEK_SET)
            copy_start(self._descriptor, stream.fileno(), size_bytes, str(self._named))
            return "copied"
        return "cloned"


class DirectoryChange:
    """Implements ports.files.PackageChange on a package directory.

    Args:
        path: The locked folder.
        named: Its path as the user gave it, for messages.
    """

    def __init__(self, path: Path, named: Path) -> None:
        self._path = path
        unfinished = [name for name in (MANIFEST, SIGNING) if leftovers(path / name)]
        for name in unfinished:
            with translated(path):
                sweep(path / name)
        self.repair: Repair = "swept" if unfinished else "none"
        self.package = DirectoryReader(path, str(named))

    def put(self, raw_manifest: bytes, signing: bytes | None) -> ChangeMethod:
        """See ports.files.PackageChange.

        A signing is of one manifest. One that becomes void goes first and a new one comes last, so that whatever is
        found after a power cut is whole, and either unsigned or rightly signed.
        """
        files, renewed = AtomicFiles(), raw_manifest != self.package.manifest_bytes
        if self.package.signing is not None and (renewed or signing is None):
            with translated(self._path / SIGNING):
                (self._path / SIGNING).unlink()
                sync_folder(self._path)
        if renewed:
            with files.replacing(self._path / MANIFEST) as stream:
                stream.write(raw_manifest)
        if signing is not None:
            with files.replacing(self._path / SIGNING) as stream:
                stream.write(signing)
        return "replaced"


@contextlib.contextmanager
def changing_file(path: Path) -> Iterator[FileChange]:
    """A package file, locked and repaired; see ports.PackageOpener.changing."""
    real = path.resolve()
    with locked(real, exclusive=True) as descriptor:
        change = FileChange(real, path, descriptor)
        with change.package:
            yield change


@contextlib.contextmanager
def changing_directory(path: Path) -> Iterator[DirectoryChange]:
    """A package directory, locked; see ports.PackageOpener.changing."""
    real = path.resolve()
    with locked(real, exclusive=True):
        yield DirectoryChange(real, path)


def _can_clone(descriptor: int) -> bool:
    """Whether the file system shares blocks between files: one that does refuses a clone onto itself as such."""
    try:
        fcntl.ioctl(descriptor, _CLONE, descriptor)
    except OSError as error:
        return error.errno == errno.EINVAL
    return True


@contextlib.contextmanager
def _without_interrupts() -> Iterator[None]:
    """Let Ctrl-C and a polite kill wait for the milliseconds that a change takes.

    Handlers are exchanged, since a mask would be this thread's alone: the kernel hands the signal to another thread of
    the process, and Python runs the handler in the main one all the same. Other threads are never interrupted.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received: list[int] = []
    before = {
        number: signal.signal(number, lambda number, _frame: received.append(number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        for late in received:
            signal.raise_signal(late)


@contextlib.contextmanager
def _linked_told(descriptor: int) -> Iterator[None]:
    """Say where a folder may not be written in why a file that may be written is not enough."""
    try:
        yield
    except HostError as error:
        links = os.fstat(descriptor).st_nlink
        if error.code != "host.permission" or links == 1:
            raise
        raise HostError(
            f"{error.message}; the file has {links} hard links, so that its change needs a copy beside it",
            hint="change the folder's permissions, or copy the package and change the copy",
            code=error.code,
        ) from error


@contextlib.contextmanager
def _space_told(path: Path, needed_bytes: int) -> Iterator[None]:
    """Say of a full disk how much was needed and is free."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        found = os.statvfs(path)
        raise no_space(f"the update of {path}", needed_bytes, found.f_bavail * found.f_frsize) from error


@contextlib.contextmanager
def _unfinished(path: Path) -> Iterator[None]:
    """Say of a disk that fails halfway what is to be done when it is well again."""
    try:
        yield
    except OSError as error:
        raise HostError(
            f"the change of {path} stopped halfway: {error.strerror}; nothing is lost, but readers may refuse it",
            hint=f"when the disk is well again: 'hyperion version recover {path}'",
            code="host.update_interrupted",
        ) from error
