"""How a worker loads its package and answers its requests, by what this host made and measured of the package."""

from __future__ import annotations

from typing import cast

import msgspec

from hyperion.domain.image import ImageMode, image_pays
from hyperion.domain.tuning import BatchingMode, BatchingPlan, Tuning, plan_batching
from hyperion.errors import EngineError, PackageError
from hyperion.format.package import PackageReader
from hyperion.ports import Engine, HostImages, ImageChoice, Session, SessionOptions
from hyperion.serving.channel import Start


def choose_image(images: HostImages, package: PackageReader, order: Start) -> ImageChoice:
    """What to load from, checked by digest; a fault is named where an image should have been there.

    This comes before the worker is confined: what it digests it also remembers, for the next worker.
    """
    if not image_pays(cast("ImageMode", order.image), package.manifest.weights_bytes, order.workers):
        return ImageChoice(None)
    return images.choose(package.digest, SessionOptions(threads=order.threads), order.images)


def load_session(
    engine: Engine, package: PackageReader, order: Start, image: ImageChoice
) -> tuple[Session, ImageChoice]:
    """The session, and what it was loaded from.

    Args:
        engine: Loads it.
        package: Opened and proven.
        order: What the supervisor said.
        image: What choose_image found.

    Raises:
        PackageError: The package breaks the format.
        EngineError: The engine rejects the graph.
    """
    options = SessionOptions(threads=order.threads, run_timeout_s=order.limits.request_timeout_s)
    if image.folder is not None:
        try:
            return engine.load_image(package, image.folder, options), image
        except (EngineError, PackageError) as error:
            image = ImageChoice(None, f"the host image does not load: {error.message}")
    return engine.load(package, options), image


def plan_requests(package: PackageReader, order: Start) -> BatchingPlan:
    """Whether requests are answered together, by what the supervisor knows of this host's measurements."""
    tuning = None if order.tuning is None else Tuning.model_validate_json(msgspec.json.encode(order.tuning))
    mode = cast("BatchingMode", order.batching)
    return plan_batching(mode, order.max_batch, tuning, package.manifest.signature)
