"""Files that are whole or absent, and packages in any form."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal, Protocol

# Only types are spoken of here: the supervisor needs no numpy, and a worker's start is waited for.
if TYPE_CHECKING:
    from hyperion.format.package import PackageReader


class Files(Protocol):
    """The one way to write a file or folder that must be whole or absent."""

    def replacing(self, path: Path) -> AbstractContextManager[BinaryIO]:
        """Write ``path`` atomically: temporary in its folder → fsync → replace → fsync the folder.

        On any exception the temporary is removed and ``path`` is as it was.

        Raises:
            HostError: No space (names needed and free bytes), no permission, no such folder.
        """

    def create(self, path: Path, data: bytes, mode: int) -> None:
        """Write a file that is not there, with this mode from the beginning on; on any exception none is left behind.

        Raises:
            ConflictError: Something is at ``path`` (code ``conflict.exists``); it was not touched.
            HostError: As above.
        """

    def make_folder(self, path: Path) -> None:
        """Make a folder whose name is on the disk before anything in it is.

        Raises:
            HostError: It exists, there is no folder to make it in, no permission.
        """

    def scratch(self, path: Path) -> AbstractContextManager[Path]:
        """A private folder beside ``path``, on its file system, for what is too large for memory.

        It is removed when the context ends; where the process is killed, the next writer of ``path`` removes it.

        Raises:
            HostError: As above.
        """

    def staging(
        self, path: Path, *, replace: bool = False, keep_as: Path | None = None
    ) -> AbstractContextManager[Path]:
        """Fill a fresh sibling folder that becomes ``path`` in one step at the end.

        Where ``path`` exists, ``replace`` removes what it was, and ``keep_as`` (a free sibling) keeps it under
        that name: the two swap in one step, so that ``path`` always holds the one or the other.

        Raises:
            ConflictError: ``path`` exists and neither is given, or ``keep_as`` exists.
            HostError: As above.
        """

    def discard(self, path: Path, swept_by: Path) -> None:
        """Remove a folder: it loses its name in one step, its bytes go after that.

        Args:
            path: The folder.
            swept_by: A path beside it; whoever writes that next removes what a killed process left of this.

        Raises:
            HostError: As above.
        """


ChangeMethod = Literal["in_place", "cloned", "copied", "replaced"]
"""How a package came to its new manifest: within the file; in a clone or a copy of it that took its name, so that other
hard links keep the old one; in a directory, by replacing the file."""

Repair = Literal["none", "finished", "taken_back", "swept"]
"""What became of a change that was interrupted before: there was none; it was finished; the package is as before it;
of a directory, whose files are always whole, what the change left lying about was removed."""


class PackageChange(Protocol):
    """A package that nobody else changes meanwhile."""

    @property
    def package(self) -> PackageReader:
        """The package as it was found, or repaired; closed by whoever opened it for changing."""

    @property
    def repair(self) -> Repair:
        """What had to be repaired before."""

    def put(self, raw_manifest: bytes, signing: bytes | None) -> ChangeMethod:
        """Give the package another manifest of the same entries, another signing, or both; once.

        What the file holds afterwards, even after a power cut, is the old package or the new one, or is refused by
        readers until ``hyperion version recover`` made it one of them.

        Args:
            raw_manifest: Canonical bytes of the manifest.
            signing: What model.sig is to hold; None leaves the package unsigned.

        Raises:
            HostError: No space, no permission; nothing has changed. Code ``host.update_interrupted``: the disk failed
                halfway.
        """


class PackageOpener(Protocol):
    """Finds which form a path is and opens it."""

    def open(self, path: Path) -> PackageReader:
        """Open a package file, an extracted directory, or a backup folder (``backup/NAME``).

        Raises:
            NotFoundError: Nothing is there (code ``package.not_found``).
            PackageError: It is no package, or a broken one.
        """

    def changing(self, path: Path) -> AbstractContextManager[PackageChange]:
        """Open a package file or directory for a change, locked; an interrupted change before is repaired first.

        A symbolic link is followed: what changes is the package that it leads to.

        Raises:
            NotFoundError: Nothing is there (code ``package.not_found``).
            ConflictError: It is a backup, which is never changed (code ``package.backup``), or another process holds
                it and does not let go (code ``package.locked``).
            PackageError: It is no package, or damaged otherwise; it was not touched.
            HostError: No permission.
        """
