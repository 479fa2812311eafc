"""``quantize report``: how a package is quantized and what that costs, from the package and from this host."""

from __future__ import annotations

from pathlib import Path

from hyperion.domain.document import Digest, Document
from hyperion.domain.scheme import Measurements, QuantizationRecord
from hyperion.errors import NotFoundError
from hyperion.format.quantization_json import read_quantization
from hyperion.ports import Host
from hyperion.usecases.measurements import read_measurements
from hyperion.verification.budget_sample import load_sample


class QuantizationReport(Document):
    """What is known of one package's quantization."""

    path: str
    digest: Digest
    name: str
    version: str
    quantization: QuantizationRecord
    """From the package."""
    measurements: Measurements
    """Of this host; no package holds it."""
    sample: str | None
    """What the package carries for the budget's check elsewhere."""


def report_quantization(host: Host, path: Path) -> QuantizationReport:
    """Show it all again.

    Raises:
        NotFoundError: Nothing is there, or it says nothing of its quantization (code ``quantize.unrecorded``).
        PackageError: It is no package, or a broken one.
    """
    with host.packages.open(path) as package:
        record = read_quantization(package)
        if record is None:
            raise NotFoundError(
                f"{path}: holds no config/quantization.json: nothing says how it is quantized",
                hint="package the model again",
                code="quantize.unrecorded",
            )
        found = load_sample(package)
        sample = None
        if found is not None:
            rows = sum(batch.rows for batch in found[0].batches)
            sample = f"{rows} rows, {'all' if found[0].whole else 'a part'} of the report set"
        return QuantizationReport(
            path=str(path),
            digest=package.digest,
            name=package.manifest.name,
            version=package.manifest.version,
            quantization=record,
            measurements=read_measurements(host, package.digest, record),
            sample=sample,
        )
