"""What every form of a package offers: one file, a directory, the store.

The three forms have one digest, that of the canonical manifest bytes, and one way to reach an entry's bytes in
place: (file, offset, size), which is how the engine maps weights without extracting them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol, Self

from hyperion.domain.manifest import Manifest


@dataclass(frozen=True, slots=True)
class EntryLocation:
    """Where an entry's bytes lie.

    Attributes:
        path: File that holds them.
        offset: Bytes from the start of that file.
        size_bytes: Length of the entry.
    """

    path: Path
    offset: int
    size_bytes: int


class PackageReader(Protocol):
    """An opened package whose structure and manifest were validated; entry digests were not, yet."""

    @property
    def source(self) -> str:
        """The path as the user named it, for messages."""

    @property
    def manifest(self) -> Manifest: ...

    @property
    def manifest_bytes(self) -> bytes:
        """The canonical manifest exactly as stored."""

    @property
    def digest(self) -> str:
        """The package's digest."""

    @property
    def signing(self) -> bytes | None:
        """What model.sig holds, unchecked; None where the package is not signed."""

    def names(self) -> tuple[str, ...]:
        """All entries but manifest.json, sorted by UTF-8 bytes."""

    def read(self, name: str) -> bytes:
        """All bytes of one entry, checked against its digest.

        Raises:
            NotFoundError: There is no such entry.
            DigestMismatchError: Its bytes are not those that the manifest names.
        """

    def open(self, name: str) -> BinaryIO:
        """A readable stream of one entry's bytes, unchecked."""

    def locate(self, name: str) -> EntryLocation:
        """Where the entry's bytes lie, for mapping them in place."""

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc_info: object) -> None: ...
