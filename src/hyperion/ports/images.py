"""Host images: built in a sandbox, kept with the state, checked before each use."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

# Only types are spoken of here: the supervisor needs no numpy, and a worker's start is waited for.
if TYPE_CHECKING:
    from hyperion.domain.image import HostImage, KeptImage
    from hyperion.format.package import PackageReader
    from hyperion.ports.inference import SessionOptions
    from hyperion.ports.tensors import Tensors


@dataclass(frozen=True, slots=True)
class ImageChoice:
    """What a session is loaded from: the image in ``folder``, or the package, for the reason that ``fault`` names."""

    folder: Path | None
    fault: str | None = None


@dataclass(frozen=True, slots=True)
class BuiltImage:
    """An image that was just made and proven.

    Attributes:
        image: Its digest.
        record: What image.json holds.
    """

    image: str
    record: HostImage


class HostImages(Protocol):
    """The images of this host. Nothing in here ever comes from a package."""

    def key(self, digest: str, options: SessionOptions) -> str:
        """The digest of what an image of the package ``digest`` depends on, on this host and with this engine."""

    def choose(self, digest: str, options: SessionOptions, recorded: Mapping[str, str]) -> ImageChoice:
        """The image to load a package from, checked, or why there is none.

        Args:
            digest: The package's.
            options: Of the session.
            recorded: Digests of the images of this package by key, as the ledger has them.
        """

    def build(
        self, path: Path, package: PackageReader, requests: Iterable[Tensors], options: SessionOptions, proof: str
    ) -> BuiltImage:
        """Make an image in a child with limits, proven there to answer ``requests`` bit for bit as the package does.

        Args:
            path: Where the package lies.
            package: The same, opened.
            requests: Inputs.
            options: Of the sessions that will load it.
            proof: What the requests are, in words.

        Raises:
            EngineError: The child failed (codes of ports.Sandbox), or the image answers otherwise
                (``engine.image_differs``).
            HostError: No space, or more than the limit of all images.
        """

    def kept(self, *, full: bool = False) -> tuple[KeptImage, ...]:
        """All images, the least recently used first; with ``full`` every byte is read and compared."""

    def touch(self, image: str) -> None:
        """Say that an image was asked for now."""

    def remove(self, image: str) -> int:
        """Remove an image, whether whole or not; returns the bytes that this gives back."""

    def other_bytes(self) -> int:
        """What is kept beside images: prepared graphs."""

    def clear_others(self) -> int:
        """Forget what is kept beside images; returns its bytes."""
