"""What differs between two packages, from their manifests alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from hyperion.domain.document import Digest, Document, JsonValue
from hyperion.domain.manifest import WEIGHTS_FOLDER, Manifest
from hyperion.domain.tensor import Signature
from hyperion.domain.version import Version

METADATA_FIELDS = ("name", "description", "author", "license", "tags", "platform", "engine", "annotations")


class Change(Document):
    """One thing that differs; a side that lacks it has null."""

    path: str
    """Which, such as ``inputs.x``, ``license`` or ``config/optimization.json``."""
    before: JsonValue
    after: JsonValue


class ComparedPackage(Document):
    """One side of a comparison."""

    source: str
    name: str
    version: str
    digest: Digest
    total_bytes: int
    weights_bytes: int


class VersionComparison(Document):
    """How the second package differs from the first."""

    before: ComparedPackage
    after: ComparedPackage
    order: Literal["newer", "same", "older"]
    """What the second version is to the first, by SemVer precedence."""
    is_identical: bool
    """Whether both are the same package, digest and all."""
    signature: tuple[Change, ...]
    layers: tuple[Change, ...]
    """By layer name; the values are digests of their entries."""
    configs: tuple[Change, ...]
    """Every other entry, by path; the values are digests."""
    metadata: tuple[Change, ...]


def compare_manifests(before: tuple[Manifest, str, str], after: tuple[Manifest, str, str]) -> VersionComparison:
    """Compare two packages, each given as manifest, digest and source."""
    first, second = before[0], after[0]
    return VersionComparison(
        before=_side(*before),
        after=_side(*after),
        order=_order(Version.parse(first.version), Version.parse(second.version)),
        is_identical=before[1] == after[1],
        signature=signature_changes(first.signature, second.signature),
        layers=_changes(_layers(first), _layers(second)),
        configs=_changes(_other_entries(first), _other_entries(second)),
        metadata=_changes(_metadata(first), _metadata(second)),
    )


def signature_changes(before: Signature, after: Signature) -> tuple[Change, ...]:
    """Inputs and outputs by name, and the labels; the order of inputs and outputs does not count."""
    return _changes(_described(before), _described(after))


def _described(signature: Signature) -> dict[str, JsonValue]:
    found: dict[str, JsonValue] = {f"inputs.{spec.name}": spec.describe() for spec in signature.inputs}
    found |= {f"outputs.{spec.name}": spec.describe() for spec in signature.outputs}
    if signature.labels is not None:
        found["labels"] = list(signature.labels)
    return found


def _side(manifest: Manifest, digest: str, source: str) -> ComparedPackage:
    return ComparedPackage(
        source=source,
        name=manifest.name,
        version=manifest.version,
        digest=digest,
        total_bytes=manifest.total_bytes,
        weights_bytes=manifest.weights_bytes,
    )


def _order(before: Version, after: Version) -> Literal["newer", "same", "older"]:
    if before.precedes(after):
        return "newer"
    return "older" if after.precedes(before) else "same"


def _layers(manifest: Manifest) -> dict[str, JsonValue]:
    return {layer.name: manifest.entries[layer.entry].digest for layer in manifest.layers}


def _other_entries(manifest: Manifest) -> dict[str, JsonValue]:
    return {path: entry.digest for path, entry in manifest.entries.items() if not path.startswith(WEIGHTS_FOLDER)}


def _metadata(manifest: Manifest) -> dict[str, JsonValue]:
    return manifest.model_dump(mode="json", include=set(METADATA_FIELDS))


def _changes(before: Mapping[str, JsonValue], after: Mapping[str, JsonValue]) -> tuple[Change, ...]:
    paths = [*before, *(path for path in after if path not in before)]
    return tuple(
        Change(path=path, before=before.get(path), after=after.get(path))
        for path in paths
        if before.get(path) != after.get(path)
    )
