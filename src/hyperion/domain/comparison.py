"""What differs between two packages: for callers, in the weights, in everything else, and in the answers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Literal

from hyperion.domain.answers import AnswerComparison
from hyperion.domain.caller import CallerView
from hyperion.domain.difference import Difference, StoredForm, WeightDifference
from hyperion.domain.document import Digest, Document, JsonValue
from hyperion.domain.manifest import WEIGHTS_FOLDER, Layer, Manifest
from hyperion.domain.migration import MigrationPoint
from hyperion.domain.step import StepVerdict, judge_step
from hyperion.domain.swap import SwapVerdict
from hyperion.domain.tensor import Signature
from hyperion.domain.version import Version

METADATA_FIELDS = ("name", "description", "author", "license", "tags", "platform")
OPERATORS = "engine.operators"
"""Path of the change of what the engine must offer; before and after are all operators of each side."""


class Change(Document):
    """One thing that differs; a side that lacks it has null."""

    path: str
    """Which, such as ``inputs.x``, ``license``, ``engine.opsets.ai.onnx`` or ``config/optimization.json``."""
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


class LayerSide(Document):
    """One layer of one package."""

    digest: Digest
    size_bytes: int
    form: StoredForm | None
    """Of its largest weight; None where it has none."""


class LayerComparison(Document):
    """One layer of both packages, matched by name."""

    name: str
    before: LayerSide | None
    """None where only the second package has it."""
    after: LayerSide | None
    """None where only the first package has it."""
    changed: bool
    """Whether the two hold other bytes; the bytes of one that does not are not read."""
    difference: Difference
    """Over all its weights that could be compared."""
    weights: tuple[WeightDifference, ...]
    """Empty where the layer is unchanged, or its values were not read."""


class VersionComparison(Document):
    """How the second package, B, differs from the first one, A."""

    before: ComparedPackage
    after: ComparedPackage
    order: Literal["newer", "same", "older"]
    """What the second version is to the first, by SemVer precedence."""
    is_identical: bool
    """Whether both are the same package, digest and all."""
    step: StepVerdict
    """The smallest honest step, why, and the one that was taken."""
    signature: tuple[Change, ...]
    processing: tuple[Change, ...]
    """config/processing.json, where its digest differs."""
    layers: tuple[LayerComparison, ...]
    """All of A in its order, then those that only B has."""
    configs: tuple[Change, ...]
    """Every other entry, by path; the values are digests."""
    metadata: tuple[Change, ...]
    answers: AnswerComparison | None = None
    """What both answer on a dataset; None where none was given."""
    plan: tuple[MigrationPoint, ...] | None = None
    """The guide's points for this step; None where they were not asked for."""
    safe_to_swap: SwapVerdict


def signature_changes(before: Signature, after: Signature) -> tuple[Change, ...]:
    """Inputs and outputs by name, and the labels; the order of inputs and outputs does not count."""
    return changes(_described(before), _described(after))


def entry_changes(before: Manifest, after: Manifest) -> tuple[Change, ...]:
    """Every entry that holds no weights, by path."""
    return changes(_other_entries(before), _other_entries(after))


def metadata_changes(before: Manifest, after: Manifest) -> tuple[Change, ...]:
    """What people wrote of the model, and what it asks of an engine; annotations and needs one by one."""
    return changes(_metadata(before), _metadata(after))


def changes(before: Mapping[str, JsonValue], after: Mapping[str, JsonValue]) -> tuple[Change, ...]:
    """What differs between two maps, in the order of the first one."""
    paths = [*before, *(path for path in after if path not in before)]
    return tuple(
        Change(path=path, before=before.get(path), after=after.get(path))
        for path in paths
        if before.get(path) != after.get(path)
    )


def order_of(before: Version, after: Version) -> Literal["newer", "same", "older"]:
    """What ``after`` is to ``before``."""
    if before.precedes(after):
        return "newer"
    return "older" if after.precedes(before) else "same"


def judge_packages(before: Manifest, after: Manifest, *, is_identical: bool) -> StepVerdict:
    """The step from one package to the other; between a package and itself none is needed."""
    verdict = judge_step(CallerView.of(before), before.version, CallerView.of(after), after.version)
    return verdict.model_copy(update={"honest": True}) if is_identical else verdict


def stored_form(layer: Layer) -> StoredForm | None:
    """How the largest tensor of a layer is stored, as its manifest says."""
    forms = (
        StoredForm(scheme=t.scheme, dtype=t.dtype, bits=_bits(t.dtype, t.scheme), shape=t.shape) for t in layer.tensors
    )
    return largest(forms)


def largest(forms: Iterable[StoredForm]) -> StoredForm | None:
    """The form with most values; the first one of several."""
    return max(forms, key=lambda form: form.values, default=None)


def _bits(dtype: str, scheme: str) -> int:
    found = re.search(r"\d+", dtype)
    return 4 if scheme == "w4" and dtype == "U8" else int(found[0]) if found else 8


def _described(signature: Signature) -> dict[str, JsonValue]:
    found: dict[str, JsonValue] = {}
    for kind, specs in (("inputs", signature.inputs), ("outputs", signature.outputs)):
        for spec in specs:
            found[f"{kind}.{spec.name}"] = spec.describe() + (", optional" if spec.optional else "")
    if signature.labels is not None:
        found["labels"] = list(signature.labels)
    return found


def _other_entries(manifest: Manifest) -> dict[str, JsonValue]:
    return {path: entry.digest for path, entry in manifest.entries.items() if not path.startswith(WEIGHTS_FOLDER)}


def _metadata(manifest: Manifest) -> dict[str, JsonValue]:
    found: dict[str, JsonValue] = manifest.model_dump(mode="json", include=set(METADATA_FIELDS))
    engine = manifest.engine
    found |= {"engine.name": engine.name, "engine.minimum_version": engine.minimum_version}
    found |= {f"engine.opsets.{domain}": version for domain, version in engine.opsets.items()}
    found |= {OPERATORS: list(engine.operators)}
    return found | {f"annotations.{key}": text for key, text in manifest.annotations.items()}
