"""``inspect``: what is in a package, from its manifest and its small documents; weights are not read."""

from __future__ import annotations

from pathlib import Path

from hyperion.domain.config import Batching
from hyperion.domain.document import Digest, Document
from hyperion.domain.finding import Finding
from hyperion.domain.manifest import EngineRequirement, Entry, HistoryLine, Layer, Parent
from hyperion.domain.scheme import Measurements, QuantizationRecord
from hyperion.domain.tensor import Signature
from hyperion.domain.tuning import BatchingPlan, Tuning, plan_batching
from hyperion.format.quantization_json import read_quantization
from hyperion.ports import Host
from hyperion.usecases.measurements import read_measurements
from hyperion.usecases.tune import read_tuning
from hyperion.verification.golden import golden_names
from hyperion.verification.processing import check_processing
from hyperion.verification.signing import check_signing


class PackageOverview(Document):
    """What a package says of itself."""

    path: str
    digest: Digest
    format_version: int
    name: str
    version: str
    description: str
    author: str
    license: str
    tags: tuple[str, ...]
    platform: str | None
    signature: Signature
    engine: EngineRequirement
    layers: tuple[Layer, ...]
    quantization: QuantizationRecord | None
    """None where the package holds no config/quantization.json."""
    measurements: Measurements
    """What this host measured when it packaged the model; no package holds it."""
    tuning: Tuning | None
    """How threads and batches pay on this host; None where it was not deployed here. No package holds it."""
    batching: BatchingPlan
    """Whether a deployment with the default config answers requests together here, and why or why not."""
    processing: tuple[Finding, ...]
    """What raw inputs it takes, or why none; empty where it has no config/processing.json."""
    golden: tuple[str, ...]
    """Names of the golden requests."""
    entries: dict[str, Entry]
    total_bytes: int
    weights_bytes: int
    parent: Parent | None
    history: tuple[HistoryLine, ...]
    annotations: dict[str, str]
    signing: tuple[Finding, ...]
    """What there is to say of its signing, the gist last; empty where it is not signed."""


def inspect_package(host: Host, path: Path) -> PackageOverview:
    """Look into a package file or directory.

    Raises:
        NotFoundError: Nothing is there.
        PackageError: It is no package, or a broken one.
    """
    with host.packages.open(path) as package:
        manifest = package.manifest
        quantization = read_quantization(package)
        tuning, batching = read_tuning(host, package.digest), Batching()
        return PackageOverview(
            path=str(path),
            digest=package.digest,
            format_version=manifest.format_version,
            name=manifest.name,
            version=manifest.version,
            description=manifest.description,
            author=manifest.author,
            license=manifest.license,
            tags=manifest.tags,
            platform=manifest.platform,
            signature=manifest.signature,
            engine=manifest.engine,
            layers=manifest.layers,
            quantization=quantization,
            measurements=read_measurements(host, package.digest, quantization),
            tuning=tuning,
            batching=plan_batching(batching.mode, batching.max_batch, tuning, manifest.signature),
            processing=check_processing(package),
            golden=golden_names(package),
            entries=manifest.entries,
            total_bytes=manifest.total_bytes,
            weights_bytes=manifest.weights_bytes,
            parent=manifest.parent,
            history=manifest.history,
            annotations=manifest.annotations,
            signing=check_signing(package),
        )
