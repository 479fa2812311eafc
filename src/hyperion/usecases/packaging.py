"""What is asked of packaging, what it answers, and the proof that every new package goes through."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from hyperion.domain.document import Document
from hyperion.domain.loss import LossBudget, Metric
from hyperion.domain.manifest import Manifest, SchemeName
from hyperion.domain.scheme import Agreement, LayerScheme, Measurements, QuantizationRecord, QuantizeChoice
from hyperion.format.archive import ArchiveReader
from hyperion.ports import PREPACKED_BYTES, ConversionOptions, Host, SessionOptions
from hyperion.verification.budget_sample import sampled_rows
from hyperion.verification.golden import compare, load_golden_requests


@dataclass(frozen=True, slots=True)
class BudgetOptions:
    """What the person said of budget and data; None leaves a value to config/quantization.json or to its default.

    Attributes:
        dataset: Folder to draw calibration, search and report sets from.
        metric: What is measured.
        max_loss: What quantizing may cost.
        max_class_loss: What it may cost any one class in recall.
        seed: Of the draw.
        sample: Whether rows of the data travel in the package, for other hosts to check the budget by.
    """

    dataset: Path | None = None
    metric: Metric | None = None
    max_loss: float | None = None
    max_class_loss: float | None = None
    seed: int | None = None
    sample: bool | None = None

    @property
    def is_empty(self) -> bool:
        return self == BudgetOptions()


@dataclass(frozen=True, slots=True)
class PackageOptions:
    """What the person asked for; None leaves a value to hyperion.json or to its default.

    Attributes:
        input_dir: A model directory, or an extracted package.
        output: The file to write.
        quantize: The scheme, or ``auto``; None for that of config/quantization.json, else ``auto``.
        parent: The package that this one follows.
        as_new: Whether an extracted package with edited entries becomes a new package; else an edit is refused.
        platform: ``linux/amd64``, ``linux/amd64+avx512_vnni``, …, or the path of a platform profile.
        conversion: What is allowed and asked where the model is no ONNX yet.
        budget: What quantizing may cost, and the data that this is measured on.
        trial: Whether the model is loaded and run in a confined child before this process does so: for models from
            strangers, which may crash the engine. It costs the start of a process.
    """

    input_dir: Path
    output: Path
    quantize: QuantizeChoice | None = None
    name: str | None = None
    version: str | None = None
    author: str | None = None
    description: str | None = None
    license: str | None = None
    parent: Path | None = None
    platform: str | None = None
    as_new: bool = False
    conversion: ConversionOptions = field(default_factory=ConversionOptions)
    budget: BudgetOptions = BudgetOptions()
    trial: bool = False


class PackageSummary(Document):
    """What came out of packaging."""

    path: str
    name: str
    version: str
    digest: str
    size_bytes: int
    """Of the file."""
    requested: QuantizeChoice
    scheme: SchemeName
    reason: str | None
    """Why nothing was quantized, or why layers stayed in float."""
    layers: tuple[LayerScheme, ...]
    bytes_before: int
    """Bytes of all weights before quantizing."""
    bytes_after: int
    agreement: Agreement | None
    """With the float model, as this host measured it; no package holds it."""
    agreement_unavailable: str | None
    shortfall: str | None
    """What kept ``auto`` from quantizing everything."""
    alone: dict[str, float]
    """For weights that ``auto`` left in float: relative error of the output when they alone are quantized."""
    budget: LossBudget | None = None
    """What quantizing may cost at most, where a person said so; then it holds."""
    sample_rows: int = 0
    """Rows of the person's data that the package carries (assets/budget/), for other hosts to check the budget by."""
    measurements: Measurements
    """Everything that was measured on the way."""
    converted: tuple[str, ...] = ()
    """What a model in another form was, and how faithful its conversion is; empty where none was needed."""
    warnings: tuple[str, ...]
    duration_s: float


def prove(host: Host, stream: BinaryIO, output: Path, warnings: list[str]) -> Manifest:
    """Demand that what was written opens and loads; golden requests that are not met are added to ``warnings``.

    Args:
        host: Whose engine loads it.
        stream: The written file, under a name of its writer's own.
        output: What it will be called.
        warnings: Where faults go that do not keep a package from being made.

    Raises:
        EngineError: The engine refuses the model.
    """
    stream.flush()
    path = Path(f"/proc/self/fd/{stream.fileno()}")  # the temporary's name is the writer's own business
    with path.open("rb") as written:
        package = ArchiveReader(written, str(output), path)
        # A proof runs once: copying gigabytes of weights for faster kernels would cost more than it gains.
        prepacking = package.manifest.weights_bytes <= PREPACKED_BYTES
        session = host.engine.load(package, SessionOptions(prepacking=prepacking, interruptible=True))
        for golden in load_golden_requests(package):
            comparison = compare(golden, session.run(golden.inputs))
            if comparison.fault is not None:
                warnings.append(f"golden request {golden.name!r} is not met: {comparison.fault}")
        return package.manifest


def summary_of(
    manifest: Manifest,
    record: QuantizationRecord,
    found: Measurements,
    output: Path,
    digest: str,
    size_bytes: int,
    warnings: Sequence[str],
    sample: bytes | None,
) -> PackageSummary:
    """The summary of one package with this ``assets/budget/sample.json``; its duration is still 0."""
    return PackageSummary(
        path=str(output),
        name=manifest.name,
        version=manifest.version,
        digest=digest,
        size_bytes=size_bytes,
        requested=record.requested,
        scheme=record.scheme,
        reason=record.reason,
        layers=record.layers,
        bytes_before=record.bytes_before,
        bytes_after=record.bytes_after,
        agreement=found.agreement,
        agreement_unavailable=found.unavailable,
        shortfall=found.shortfall,
        alone=found.alone,
        budget=record.budget,
        sample_rows=sampled_rows(sample),
        measurements=found,
        warnings=tuple(warnings),
        duration_s=0.0,
    )
