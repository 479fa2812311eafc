"""Give a package its host image before its workers start, where that pays."""

from __future__ import annotations

from pathlib import Path

from hyperion.domain.config import DeploymentConfig
from hyperion.domain.digest import short
from hyperion.domain.event import EventDraft, EventKind
from hyperion.domain.image import image_pays, images_by_key
from hyperion.errors import HyperionError
from hyperion.format.package import PackageReader
from hyperion.format.side_by_side import available_cores
from hyperion.ports import BuiltImage, Host, Reporter, SessionOptions, Tensors
from hyperion.usecases.record import record_event
from hyperion.usecases.tune import read_tuning
from hyperion.verification.golden import load_golden_requests
from hyperion.verification.request import NoRequestError, generated_request

MAX_REQUESTS = 8
"""Golden requests that an image is proven on before it is kept; a worker answers all of them before it serves."""


def ensure_image(host: Host, path: Path, config: DeploymentConfig, reporter: Reporter) -> BuiltImage | None:
    """Build the host image of a package where it is wanted and there is none yet.

    Nothing here ends a deployment: without an image the workers load from the package, and the reason is told.

    Args:
        host: This host.
        path: Where the package lies.
        config: Complete; says whether an image is wanted, and with which threads.
        reporter: Where progress goes.

    Returns:
        The image that was built now; None where there is one, where none is wanted, or where it failed.
    """
    with host.packages.open(path) as package:
        if not image_pays(config.image, package.manifest.weights_bytes, config.workers):
            return None
        options = session_options(host, package.digest, config)
        try:
            if host.images.choose(package.digest, options, recorded_images(host, package.digest)).folder is not None:
                return None
            with reporter.stage("Build the host image"):
                return build_image(host, path, package, options, config.name)
        except HyperionError as error:
            reporter.warn(f"there is no host image, the workers load from the package: {error.message}")
            return None


def build_image(
    host: Host, path: Path, package: PackageReader, options: SessionOptions, deployment: str | None = None
) -> BuiltImage:
    """Build, prove and record the host image of a package.

    Raises:
        EngineError: The child failed, or the image answers otherwise than the package.
        HostError: No space, or beyond the limit of all images.
    """
    requests, proof = _requests(package)
    built = host.images.build(path, package, requests, options, proof)
    draft = EventDraft(
        kind=EventKind.IMAGE_BUILT,
        deployment=deployment,
        actor=host.facts.user(),
        data={
            "image": built.image,
            "key": built.record.key,
            "package": package.digest,
            "size_bytes": built.record.size_bytes,
            "proof": proof,
        },
    )
    try:
        record_event(host, draft)
    except HyperionError:
        host.images.remove(built.image)  # what the ledger does not know is never used
        raise
    return built


def recorded_images(host: Host, digest: str) -> dict[str, str]:
    """Digests of the images of a package by key, as the ledger has them."""
    return images_by_key(host.ledger.events(kinds=[EventKind.IMAGE_BUILT]), digest)


def session_options(host: Host, digest: str, config: DeploymentConfig) -> SessionOptions:
    """The options that the workers of this config will have."""
    return SessionOptions(threads=config.threads_for(read_tuning(host, digest), available_cores()))


def _requests(package: PackageReader) -> tuple[tuple[Tensors, ...], str]:
    """What to prove an image on, and how to call it."""
    golden = load_golden_requests(package)[:MAX_REQUESTS]
    if golden:
        told = "1 golden request" if len(golden) == 1 else f"{len(golden)} golden requests"
        return tuple(request.inputs for request in golden), told
    try:
        return (generated_request(package.manifest.signature),), "a generated input"
    except NoRequestError as error:
        return (), f"nothing: {short(package.digest)} has no golden requests, and {error}"
