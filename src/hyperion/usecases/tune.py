"""What this host measures of a package to serve it well, and where it is kept."""

from __future__ import annotations

from hyperion.domain.tuning import Curve, Tuning
from hyperion.errors import HyperionError
from hyperion.format.package import PackageReader
from hyperion.ports import Host, Reporter
from hyperion.verification.golden import golden_names


def keep_tuning(host: Host, digest: str, curve: Curve, measured_on: str, reporter: Reporter) -> None:
    """Keep a curve that was measured now; where that fails the workers do without, which is said.

    Args:
        host: This host.
        digest: The package's.
        curve: What its child measured.
        measured_on: The inputs, in words.
        reporter: Where the result is told.
    """
    tuning = Tuning(
        digest=digest,
        platform=host.facts.platform_name(),
        engine_version=host.engine.version(),
        measured_at=host.clock.now(),
        measured_on=measured_on,
        curve=curve,
    )
    try:
        host.reports.save_tuning(tuning)
    except HyperionError as error:
        reporter.warn(f"what was measured for serving is not kept: {error.message}")
    else:
        reporter.info(f"tuning: {tuning.describe()}")


def read_tuning(host: Host, digest: str) -> Tuning | None:
    """What this host measured of a package; None where it did not, or lost it."""
    try:
        return host.reports.tuning(digest, host.facts.platform_name())
    except HyperionError:
        return None


def describe_sample(package: PackageReader) -> str:
    """The inputs that a child measures on, in words."""
    names = golden_names(package)
    return f"golden request {names[0]!r}" if names else "a generated input"
