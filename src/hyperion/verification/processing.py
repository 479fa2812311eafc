"""Does config/processing.json fit the model? Told from the documents alone: its tokenizer is not loaded here."""

from __future__ import annotations

from hyperion.domain.finding import Finding, Outcome
from hyperion.domain.manifest import PROCESSING
from hyperion.domain.processing import Processing
from hyperion.domain.processing_fit import processing_faults
from hyperion.errors import ConfigError, PackageError
from hyperion.format.package import PackageReader
from hyperion.format.strict_json import faulty_document, parse_document

CHECK = "model.processing"
NAMED = 8
"""Raw inputs that a finding names."""


def check_processing(package: PackageReader) -> tuple[Finding, ...]:
    """What raw inputs the package takes; nothing where it has no config/processing.json.

    A document that does not fit is a warning, not a failure: the package serves tensors all the same, and before
    Hyperion read this document it could be any JSON.
    """
    if PROCESSING not in package.names():
        return ()
    try:
        processing = _fitting(package)
    except (ConfigError, PackageError) as error:
        return (
            Finding(
                check=CHECK,
                outcome=Outcome.WARNED,
                summary=f"takes tensors only: its {PROCESSING} cannot be used",
                reason=error.message,
                entry=PROCESSING,
                hint="package the model again with a valid document, where raw inputs are wanted",
            ),
        )
    names = [spec.name for spec in processing.raw_inputs]
    more = f" and {len(names) - NAMED} more, {len(names)} in all" if len(names) > NAMED else ""
    listed = ", ".join(names[:NAMED]) + more
    return (Finding(check=CHECK, outcome=Outcome.PASSED, summary=f"fits the model; raw inputs: {listed}"),)


def _fitting(package: PackageReader) -> Processing:
    """The document, where it fits.

    Raises:
        ConfigError: All its faults.
        DigestMismatchError: It is damaged.
    """
    source = f"{package.source}: {PROCESSING}"
    processing = parse_document(Processing, package.read(PROCESSING), source)
    faults = processing_faults(processing, package.manifest.signature, package.names())
    if faults:
        raise faulty_document(source, faults)
    return processing
