"""config/quantization.json of a package."""

from __future__ import annotations

from hyperion.domain.manifest import QUANTIZATION
from hyperion.domain.scheme import QuantizationRecord
from hyperion.errors import ConfigError, MalformedPackageError
from hyperion.format.package import PackageReader
from hyperion.format.strict_json import parse_document


def read_quantization(package: PackageReader) -> QuantizationRecord | None:
    """The package's config/quantization.json; None where it has none.

    Raises:
        MalformedPackageError: It is not what Hyperion writes (code ``package.quantization``).
        DigestMismatchError: It was edited.
    """
    if QUANTIZATION not in package.manifest.entries:
        return None
    try:
        return parse_document(QuantizationRecord, package.read(QUANTIZATION), f"{package.source}: {QUANTIZATION}")
    except ConfigError as error:
        raise MalformedPackageError(error.message, entry=QUANTIZATION, code="package.quantization") from error
