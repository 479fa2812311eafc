"""What every form of a package offers: one file, a directory, the store.

The three forms have one digest, that of the canonical manifest bytes, and one way to reach an entry's bytes in
place: (file, offset, size), which is how the engine maps weights without extracting them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol, Self

from hyperion.domain.manifest import Layer, Manifest

if TYPE_CHECKING:
    from hyperion.format.views import StoredTensor


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

    @property
    def damage_hint(self) -> str:
        """What to do where an entry's bytes are not those of the manifest."""

    def names(self) -> tuple[str, ...]:
        """All entries but manifest.json, sorted by UTF-8 bytes."""

    def layer(self, name: str) -> Layer:
        """The layer whose tensors the entry ``name`` of ``weights/`` holds."""

    def read(self, name: str) -> bytes:
        """All bytes of one entry, checked against its digest.

        Raises:
            NotFoundError: There is no such entry (code ``package.entry_not_found``).
            DigestMismatchError: Its bytes are not those that the manifest names.
            ValueError: The package file was closed.
        """

    def open(self, name: str) -> BinaryIO:
        """A readable stream of one entry's bytes, unchecked.

        Raises:
            NotFoundError: There is no such entry.
            ValueError: The package file was closed.
        """

    def locate(self, name: str) -> EntryLocation:
        """Where the entry's bytes lie, for mapping them in place."""

    def view(self, name: str) -> memoryview:
        """All bytes of one entry in place, unchecked: read-only, of the mapped file, without a copy.

        It stays valid after the package is closed, for as long as the view itself lives. Where another program cuts
        the file short meanwhile, looking at what is gone ends the process with SIGBUS.

        Raises:
            NotFoundError: There is no such entry.
            MalformedPackageError: The file became shorter since it was opened (code ``package.size_mismatch``).
            ValueError: The package file was closed.
        """

    def tensors(self) -> tuple[StoredTensor, ...]:
        """All tensors of all layers, in the order of the manifest, without padding; none is read before it is used."""

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc_info: object) -> None: ...
