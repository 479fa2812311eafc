"""What this host made of packages for its own use: host images and prepared graphs; all of it can be made again."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

from hyperion.domain.document import Digest, Document
from hyperion.domain.event import EventKind
from hyperion.domain.image import HostImage, KeptImage
from hyperion.errors import ConflictError
from hyperion.ports import Host, Reporter, SessionOptions
from hyperion.usecases.image import build_image, recorded_images


class ImageState(StrEnum):
    """Whether a worker would load an image."""

    USABLE = "usable"
    STALE = "stale"
    """Made with another engine, CPU or session options than this host has now."""
    ORPHANED = "orphaned"
    """The store does not hold its package."""
    FAULTY = "faulty"
    """Damaged, or not what the ledger names."""


class CachedImage(Document):
    """One host image, and what becomes of it."""

    image: Digest
    state: ImageState
    reason: str | None
    """Why it is not usable."""
    record: HostImage | None
    size_bytes: int
    used_at: str
    """RFC 3339."""


class CacheContents(Document):
    """All that there is."""

    images: tuple[CachedImage, ...]
    """The least recently used first."""
    images_bytes: int
    graphs_bytes: int

    @property
    def faulty(self) -> tuple[CachedImage, ...]:
        return tuple(image for image in self.images if image.state is ImageState.FAULTY)


class CacheRemoval(Document):
    """What was removed."""

    images: tuple[CachedImage, ...]
    freed_bytes: int
    kept: int
    """Images that stay."""


class CacheBuilt(Document):
    """An image that was made on demand."""

    image: Digest
    record: HostImage
    new: bool
    """False where there was one already."""


def read_cache(host: Host, *, full: bool = False) -> CacheContents:
    """All images with their states; with ``full`` every byte is read and compared with the ledger's digest."""
    known = {str(event.data["image"]) for event in host.ledger.events(kinds=[EventKind.IMAGE_BUILT])}
    images = tuple(_judged(host, kept, known) for kept in host.images.kept(full=full))
    total = sum(image.size_bytes for image in images)
    return CacheContents(images=images, images_bytes=total, graphs_bytes=host.images.other_bytes())


def prune_cache(host: Host, limit_bytes: int | None = None) -> CacheRemoval:
    """Remove what no worker would load, and then the least recently used until ``limit_bytes`` are kept at most.

    Every byte is read, as ``cache verify`` does, so that what it calls faulty goes. A worker that has an image mapped
    keeps it until it ends.
    """
    contents = read_cache(host, full=True)
    removed = [image for image in contents.images if image.state is not ImageState.USABLE]
    usable = [image for image in contents.images if image.state is ImageState.USABLE]
    total = sum(image.size_bytes for image in usable)
    while limit_bytes is not None and usable and total > limit_bytes:
        total -= usable[0].size_bytes
        removed.append(usable.pop(0))
    freed = sum(host.images.remove(image.image) for image in removed)
    return CacheRemoval(images=tuple(removed), freed_bytes=freed, kept=len(usable))


def clear_cache(host: Host) -> CacheRemoval:
    """Remove everything; workers that start from now on load from the package until it is built again."""
    contents = read_cache(host)
    freed = sum(host.images.remove(image.image) for image in contents.images) + host.images.clear_others()
    return CacheRemoval(images=contents.images, freed_bytes=freed, kept=0)


def build_cache(host: Host, path: Path, threads: int, reporter: Reporter) -> CacheBuilt:
    """Make the host image of a package that the store holds, so that its next workers find it.

    Raises:
        ConflictError: The store does not hold the package (code ``image.not_deployed``).
        EngineError: The child failed, or the image answers otherwise than the package.
        HostError: No space, or beyond the limit of all images.
    """
    with host.packages.open(path) as package:
        if not host.store.has(package.digest):
            raise ConflictError(
                f"{path} was never deployed here, so its host image would be removed as orphaned",
                hint='deploy it with "image": "on" in deployment.json',
                code="image.not_deployed",
            )
        options = SessionOptions(threads=threads)
        recorded = recorded_images(host, package.digest)
        if host.images.choose(package.digest, options, recorded).folder is not None:
            image = recorded[host.images.key(package.digest, options)]
            record = next(kept.record for kept in host.images.kept() if kept.image == image)
            if record is not None:
                return CacheBuilt(image=image, record=record, new=False)
        with reporter.stage("Build the host image"):
            built = build_image(host, path, package, options)
    return CacheBuilt(image=built.image, record=built.record, new=True)


def _judged(host: Host, kept: KeptImage, known: set[str]) -> CachedImage:
    state, reason = _state(host, kept, known)
    return CachedImage(
        image=kept.image,
        state=state,
        reason=reason,
        record=kept.record,
        size_bytes=kept.size_bytes,
        used_at=kept.used_at.isoformat(timespec="seconds"),
    )


def _state(host: Host, kept: KeptImage, known: set[str]) -> tuple[ImageState, str | None]:
    record = kept.record
    if record is None or kept.fault is not None:
        return ImageState.FAULTY, kept.fault
    if kept.image not in known:
        return ImageState.FAULTY, "the ledger does not name it"
    if not host.store.has(record.package):
        return ImageState.ORPHANED, "the store does not hold its package"
    if host.images.key(record.package, SessionOptions(threads=record.threads)) != record.key:
        return ImageState.STALE, f"it was made by onnxruntime {record.engine_version} for another engine or CPU"
    return ImageState.USABLE, None
