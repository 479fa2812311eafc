"""What the three forms of an opened package share: everything that follows from the manifest and ``locate``."""

from __future__ import annotations

import io
import os
from abc import ABC, abstractmethod
from typing import BinaryIO, Self

from hyperion.domain.digest import digest_of
from hyperion.domain.manifest import Entry, Layer, Manifest
from hyperion.errors import NotFoundError
from hyperion.format.entry_fault import damaged_entry
from hyperion.format.names import in_order
from hyperion.format.package import EntryLocation
from hyperion.format.views import StoredTensor, Views


class OpenedPackage(ABC):
    """A package whose structure and manifest were validated; a subclass knows where its entries lie.

    Args:
        source: The path as the user named it, for messages.
        manifest: As read from ``raw``.
        raw: The canonical manifest as stored.
        signing: What model.sig holds, where there is one.
    """

    def __init__(self, source: str, manifest: Manifest, raw: bytes, signing: bytes | None = None) -> None:
        self._source = source
        self._manifest = manifest
        self._raw = raw
        self._signing = signing
        self._names = tuple(in_order(manifest.entries))
        self._layers = {layer.entry: layer for layer in manifest.layers}
        self._views = Views(self)

    @property
    def source(self) -> str:
        return self._source

    @property
    def manifest(self) -> Manifest:
        return self._manifest

    @property
    def manifest_bytes(self) -> bytes:
        return self._raw

    @property
    def digest(self) -> str:
        return digest_of(self._raw)

    @property
    def signing(self) -> bytes | None:
        return self._signing

    @property
    def damage_hint(self) -> str:
        return "fetch or make the package again"

    def names(self) -> tuple[str, ...]:
        return self._names

    def layer(self, name: str) -> Layer:
        return self._layers[name]

    def read(self, name: str) -> bytes:
        """All bytes of one entry, checked against its digest."""
        entry = self.entry(name)
        with self.open(name) as stream:
            data = stream.read(entry.size_bytes + 1)
        self.require_digest(name, digest_of(data))
        return data

    def open(self, name: str) -> BinaryIO:
        """A stream of one entry's bytes, unchecked; the caller closes it."""
        location = self.locate(name)
        descriptor = os.open(location.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        return io.FileIO(descriptor)

    @abstractmethod
    def locate(self, name: str) -> EntryLocation:
        """Where the entry's bytes lie, for mapping them in place."""

    def view(self, name: str) -> memoryview:
        return self._views.view(name)

    def tensors(self) -> tuple[StoredTensor, ...]:
        return self._views.tensors()

    def entry(self, name: str) -> Entry:
        """What the manifest says of ``name``.

        Raises:
            NotFoundError: Code ``package.entry_not_found``.
        """
        try:
            return self._manifest.entries[name]
        except KeyError:
            raise NotFoundError(
                f"{self._source}: there is no entry {name!r}", entry=name, code="package.entry_not_found"
            ) from None

    def require_digest(self, name: str, found: str) -> None:
        """Demand that ``found`` is what the manifest says of ``name``.

        Raises:
            DigestMismatchError: Names the entry and both digests.
        """
        expected = self.entry(name).digest
        if found != expected:
            raise damaged_entry(self, name, expected, found)

    def close(self) -> None:  # noqa: B027 - a form that holds something open says so
        """Nothing is held open; entries are opened one by one."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()
