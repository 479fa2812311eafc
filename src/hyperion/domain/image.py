"""Host images: what this host made of a package so that its workers load faster and share their memory.

An image is the optimized graph and the weights as the engine's kernels want them. It is derived, belongs to one engine,
one CPU and one kind of session, never travels in a package, and can be thrown away at any time.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from hyperion.domain.document import Digest, Document
from hyperion.domain.event import Event

ImageMode = Literal["auto", "on", "off"]

PAYS_FROM_BYTES = 64 * 1024 * 1024
"""``auto`` makes an image where the copies of the weights that the workers would make take this much together: below,
the engine makes them within 50 ms, which is less than building, proving and keeping an image costs."""
SPACE_FACTOR = 2.5
"""Room to ask for: an image holds the original and the packed weights, 2.0 to 2.2 times the package's."""


class ImageFile(Document):
    """One file of an image."""

    digest: Digest
    size_bytes: Annotated[int, Field(ge=0)]


class HostImage(Document):
    """image.json: what an image is made of, and for what; its digest is the image's."""

    format_version: Literal[1] = 1
    key: Digest
    """Of everything that the image depends on: package, engine, CPU features, session options."""
    package: Digest
    model: str
    version: str
    """Of the model."""
    engine_version: str
    threads: int
    files: dict[str, ImageFile]
    proof: str
    """On what inputs it answered bit for bit as the package does, in words."""
    built_at: datetime

    @property
    def size_bytes(self) -> int:
        return sum(file.size_bytes for file in self.files.values())


class KeptImage(Document):
    """An image as it lies on this host."""

    image: Digest
    record: HostImage | None
    """None where image.json is missing, damaged or not what the image's name says."""
    size_bytes: int
    """What its files take."""
    used_at: datetime
    """When a worker or a deployment last asked for it."""
    fault: str | None = None
    """Why it is not used; None where nothing was found wrong."""


def images_by_key(events: Iterable[Event], digest: str) -> dict[str, str]:
    """Digests of the images of the package ``digest`` by key, as the ledger's events have them; the last one counts."""
    return {str(event.data["key"]): str(event.data["image"]) for event in events if event.data.get("package") == digest}


def image_pays(mode: ImageMode, weights_bytes: int, workers: int) -> bool:
    """Whether a deployment is to have an image.

    Args:
        mode: The key ``image`` of deployment.json.
        weights_bytes: Of the package.
        workers: Each of which would make a copy of its own.
    """
    return mode == "on" or (mode == "auto" and weights_bytes * workers >= PAYS_FROM_BYTES)
