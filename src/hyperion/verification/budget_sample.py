"""The rows that a package carries so that another host can hold it to its budget: assets/budget/.

``sample.json`` says what is compared and holds the classes; ``sample.safetensors`` holds the inputs of each batch
(``0/input:NAME``) and, where vectors are compared, the float model's (``0/reference``, float16 where that is enough).
What the float model answered is given data, like the expected outputs of golden requests: docs/adr/0014.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from hyperion.domain.document import Document, Many
from hyperion.domain.loss import LossBudget
from hyperion.domain.manifest import BUDGET_FOLDER
from hyperion.domain.tensor import LARGEST_INTEGER
from hyperion.errors import ConfigError, MalformedPackageError
from hyperion.format.package import PackageReader
from hyperion.format.strict_json import parse_document
from hyperion.ports import Array, Batch, Tensors
from hyperion.verification.loss import Reference

SAMPLE = f"{BUDGET_FOLDER}sample.json"
SAMPLE_TENSORS = f"{BUDGET_FOLDER}sample.safetensors"
MAX_BYTES = 16 * 1024**2
"""Of one entry of a sample; packaging stays below half of it."""
_INPUT = "input:"
_REFERENCE = "reference"


SampledClass = Annotated[int, Field(ge=-LARGEST_INTEGER, le=LARGEST_INTEGER)] | str


class SampleBatch(Document):
    """One batch of the sample: classes by name or number, as the model speaks of them."""

    rows: Annotated[int, Field(ge=1, le=LARGEST_INTEGER)]
    labels: Many[SampledClass] | None = None
    """What is right; None where the metric does not ask."""
    classes: Many[SampledClass | None] | None = None
    """What the float model answered; None where vectors are compared."""


class BudgetSample(Document):
    """assets/budget/sample.json."""

    format_version: Literal[1] = 1
    budget: LossBudget
    output: str
    """The output that is compared."""
    labels_are_text: bool = False
    whole: bool
    """Whether these are all rows of the report set; a part of it can only show that a budget is broken for certain."""
    batches: Many[SampleBatch]


@dataclass(frozen=True, slots=True)
class SampledBatch:
    """One batch of the sample, ready to be run."""

    batch: Batch
    reference: Reference


def sample_entries(sample: BudgetSample, batches: Iterable[tuple[Batch, Reference]]) -> dict[str, bytes]:
    """The entries of a sample; ``sample.batches`` is filled in here."""
    from safetensors.numpy import save

    tensors: dict[str, Array] = {}
    described = []
    for index, (batch, reference) in enumerate(batches):
        for name, value in batch.feeds.items():
            tensors[f"{index}/{_INPUT}{name}"] = np.ascontiguousarray(value)
        if reference.values is not None:
            tensors[f"{index}/{_REFERENCE}"] = _small(reference.values)
        labels = None if batch.labels is None else tuple(batch.labels.tolist())
        described.append(SampleBatch(rows=batch.rows, labels=labels, classes=reference.classes))
    document = sample.model_copy(update={"batches": tuple(described)})
    return {SAMPLE: document.model_dump_json(indent=2).encode() + b"\n", SAMPLE_TENSORS: save(tensors)}


def can_be_carried(batches: Iterable[Batch]) -> bool:
    """Whether the inputs are of types that a package can hold: text is not."""
    return all(value.dtype.kind in "biuf" for batch in batches for value in batch.feeds.values())


def sampled_rows(document: bytes | None) -> int:
    """The rows that assets/budget/sample.json tells of; 0 where there is none, or none that can be read."""
    try:
        sample = None if document is None else parse_document(BudgetSample, document, SAMPLE)
    except ConfigError:  # somebody edited it: the check says so, wherever it runs
        sample = None
    return 0 if sample is None else sum(batch.rows for batch in sample.batches)


def load_sample(package: PackageReader) -> tuple[BudgetSample, tuple[SampledBatch, ...]] | None:
    """The sample that a package carries; None where it carries none.

    Raises:
        MalformedPackageError: It is not what Hyperion writes (code ``package.budget``).
        DigestMismatchError: It was edited.
    """
    if SAMPLE not in package.names():
        return None
    for name in (SAMPLE, SAMPLE_TENSORS):
        entry = package.manifest.entries.get(name)
        if entry is None or entry.size_bytes > MAX_BYTES:
            raise _broken(package, f"{name} is missing, or larger than {MAX_BYTES} bytes")
    try:
        sample = parse_document(BudgetSample, package.read(SAMPLE), f"{package.source}: {SAMPLE}")
    except ConfigError as error:
        raise MalformedPackageError(error.message, entry=SAMPLE, code="package.budget") from error
    return sample, tuple(_batches(package, sample))


def _batches(package: PackageReader, sample: BudgetSample) -> Iterator[SampledBatch]:
    tensors = _tensors(package)
    for index, described in enumerate(sample.batches):
        prefix = f"{index}/{_INPUT}"
        feeds = {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}
        values = tensors.get(f"{index}/{_REFERENCE}")
        classes = described.classes
        counts = {len(found) for found in (classes, described.labels) if found is not None}
        missing = [spec.name for spec in package.manifest.signature.required if spec.name not in feeds]
        if missing or (classes is None and values is None) or counts - {described.rows}:
            raise _broken(package, f"batch {index} lacks inputs or answers, or has another number of rows than it says")
        batch = Batch(feeds, described.rows, _labels(described), SAMPLE, 0)
        yield SampledBatch(batch, Reference(classes, None if values is None else values.reshape(len(values), -1)))


def _tensors(package: PackageReader) -> Tensors:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        return load(package.read(SAMPLE_TENSORS))
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise _broken(package, f"is no safetensors file: {error}") from error


def _labels(described: SampleBatch) -> Array | None:
    if described.labels is None:
        return None
    text = any(isinstance(label, str) for label in described.labels)
    return np.array(described.labels, dtype=object if text else np.int64)


def _small(values: Array) -> Array:
    """In half precision, unless a value is too large for it."""
    with np.errstate(over="ignore"):
        half = values.astype(np.float16)
    return np.ascontiguousarray(half if np.isfinite(half).all() else values)


def _broken(package: PackageReader, why: str) -> MalformedPackageError:
    return MalformedPackageError(
        f"{package.source}: {SAMPLE_TENSORS}: {why}",
        entry=SAMPLE_TENSORS,
        hint="package the model again",
        code="package.budget",
    )
