"""Files that are whole or absent, and packages in any form."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

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


class PackageOpener(Protocol):
    """Finds which form a path is and opens it."""

    def open(self, path: Path) -> PackageReader:
        """Open a package file, an extracted directory, or a backup folder (``backup/NAME``).

        Raises:
            NotFoundError: Nothing is there (code ``package.not_found``).
            PackageError: It is no package, or a broken one.
        """
