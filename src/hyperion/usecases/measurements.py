"""What packaging measured of a scheme, kept by the host that measured it: no package holds such figures."""

from __future__ import annotations

from contextlib import suppress

from hyperion.domain.manifest import QUANTIZATION, Manifest
from hyperion.domain.scheme import HostMeasurements, Measurements, QuantizationRecord
from hyperion.errors import HostError, PackageError
from hyperion.format.package import PackageReader
from hyperion.format.quantization_json import read_quantization
from hyperion.ports import Host
from hyperion.verification.budget import BudgetCheck
from hyperion.verification.performance import Measurement

_BUDGET_FIGURES = {"before", "after", "loss", "low", "high", "rows"}
"""Of a loss, what a report shows beside its findings; the finding itself has all of it."""


def keep_measurements(host: Host, digest: str, found: Measurements) -> str | None:
    """Note what was measured of a package; returns why that failed, for the package itself is whole without."""
    kept = HostMeasurements(
        digest=digest,
        platform=host.facts.platform_name(),
        engine_version=host.engine.version(),
        measured_at=host.clock.now(),
        measurements=found,
    )
    try:
        host.reports.save_measurements(kept)
    except HostError as error:
        return f"what was measured is not kept: {error.message}"
    return None


def carry_measurements(host: Host, before: Manifest, digest_before: str, digest: str) -> None:
    """Note of a package with the same weights what this host measured of it under its digest of before.

    Where that cannot be read or kept, nothing was measured of the new digest: the package is whole without.

    Args:
        host: This host.
        before: The package's manifest of before.
        digest_before: Its digest then.
        digest: Its digest now.
    """
    if QUANTIZATION not in before.entries:  # nothing can have been measured
        return
    with suppress(HostError):
        found = host.reports.measurements(digest_before, host.facts.platform_name())
        if found is not None:
            host.reports.save_measurements(found.model_copy(update={"digest": digest}))


def read_measurements(host: Host, digest: str, record: QuantizationRecord | None) -> Measurements:
    """What this host measured of a package, or why there is nothing.

    Args:
        host: This host.
        digest: Of the package.
        record: Its config/quantization.json.
    """
    if record is None or record.requested == "none":
        return Measurements(unavailable="nothing was quantized")
    try:
        found = host.reports.measurements(digest, host.facts.platform_name())
    except HostError as error:
        return Measurements(unavailable=error.message)
    if found is not None:
        return found.measurements
    untouched = record.scheme in ("none", "kept")
    return Measurements(unavailable="nothing was quantized" if untouched else "not measured on this host")


def add_agreement(measurement: Measurement, host: Host, package: PackageReader) -> None:
    """Show what this host measured of a quantized package that states no budget; of others there is nothing to say."""
    try:
        record = read_quantization(package)
    except PackageError:  # told by check_configs
        return
    if record is None or record.scheme in ("none", "kept") or record.budget is not None:
        return
    found = read_measurements(host, package.digest, record)
    value = None if found.agreement is None else found.agreement.value
    measurement.set("agreement", value, found.unavailable)


def add_budget(measurement: Measurement, found: BudgetCheck) -> None:
    """Show how the package keeps its accuracy budget here; of packages that state none there is nothing to say."""
    if found.finding is None:
        return
    measurement.findings.append(found.finding)
    loss = None if found.loss is None else found.loss.model_dump(mode="json", include=_BUDGET_FIGURES)
    measurement.set("budget", loss, found.finding.reason)
