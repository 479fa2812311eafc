"""Verify a package or a deployment: each function answers one ``hyperion verify …`` with a report.

A broken package is a failed finding. Reports on a package that a deployment serves are kept under it too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from hyperion.domain.command import DeploymentStatus
from hyperion.domain.config import MemoryConfig, VerificationConfig
from hyperion.domain.deployment import Revision, match_digest
from hyperion.domain.finding import Finding, Outcome, Report, Subject
from hyperion.domain.platform import PlatformProfile
from hyperion.errors import ConfigError, HyperionError, NotFoundError, PackageError
from hyperion.format.package import PackageReader
from hyperion.format.signing_key import PublicKey
from hyperion.ports import Host, Reporter
from hyperion.usecases.config import load_config
from hyperion.usecases.measurements import add_agreement, add_budget
from hyperion.usecases.status import read_status
from hyperion.verification.budget import check_budget
from hyperion.verification.compatibility import check_compatibility, parse_platform, quantization_of
from hyperion.verification.deployment import ACTIVE, measure_deployment
from hyperion.verification.integrity import check_integrity, check_quickly
from hyperion.verification.memory import measure_memory
from hyperion.verification.model import check_configs, check_model
from hyperion.verification.performance import Measurement, measure_performance
from hyperion.verification.processing import check_processing
from hyperion.verification.signing import check_signing


def verify_integrity(
    host: Host, path: Path, reporter: Reporter, *, quick: bool = False, threads: int | None = None
) -> Report:
    """Structure, digests and contents, all read now; or, quickly, structure, sizes and CRCs.

    Args:
        host: This host.
        path: Package in any form.
        reporter: Where progress goes.
        quick: Whether CRCs are enough.
        threads: How many may read at once; by default one for each core of this process.

    Raises:
        NotFoundError: There is nothing at ``path``.
    """
    check = check_quickly if quick else check_integrity
    return _verify(host, "integrity", path, check(host, path, reporter, threads=threads), lambda _: Measurement())


def verify_model(
    host: Host, path: Path, reporter: Reporter, trusted: Sequence[PublicKey] = (), *, full: bool = False
) -> Report:
    """Structure, digests, signing and configs; does it load in the engine; are its golden requests answered right?

    Args:
        host: This host.
        path: Package in any form.
        reporter: Where progress goes.
        trusted: Keys, one of which must have signed it, or its model is not run; without any it may be unsigned.
        full: Whether to read also what was proven before and is unchanged since.

    Raises:
        NotFoundError: There is nothing at ``path``.
        HostError: No child process can be started.
    """

    def measure(package: PackageReader) -> Measurement:
        signing = check_signing(package, trusted)
        model = () if _has_failure(signing) else check_model(host, path, package, reporter)
        measurement = Measurement([*signing, check_configs(package), *check_processing(package), *model])
        if not _has_failure(measurement.findings):
            add_budget(measurement, check_budget(host, path, package, reporter))
        add_agreement(measurement, host, package)
        return measurement

    return _verify(host, "model", path, check_integrity(host, path, reporter, recall=not full), measure)


def verify_performance(host: Host, path: Path, dataset: Path, reporter: Reporter, batch_size: int = 32) -> Report:
    """Speed, CPU, memory and disk on a dataset; accuracy where it has labels.

    Raises:
        NotFoundError: There is no package, or no dataset folder (code ``dataset.not_found``).
        ConfigError: The dataset is not what the model takes (code ``dataset.invalid``).
        HostError: No child process can be started.
    """

    def measure(package: PackageReader) -> Measurement:
        opened = host.datasets.open(dataset, package.manifest.signature)
        return measure_performance(host, path, package, opened, reporter, batch_size)

    return _verify(host, "performance", path, check_integrity(host, path, reporter, recall=True), measure)


def verify_memory(host: Host, path: Path, config: MemoryConfig, reporter: Reporter) -> Report:
    """Peak, steady and after-unload memory of a process that runs the model, against ``budget_mb``.

    Raises:
        NotFoundError: There is nothing at ``path``.
        HostError: No child process can be started.
    """
    integrity = check_integrity(host, path, reporter, recall=True)
    return _verify(
        host, "memory", path, integrity, lambda package: measure_memory(host, path, package, config, reporter)
    )


def verify_compatibility(host: Host, path: Path, platform: str) -> Report:
    """Does the package fit a target?

    Args:
        host: This host.
        path: Package in any form.
        platform: ``linux/amd64`` or the like, or a file that ``hyperion platform probe`` wrote.

    Raises:
        NotFoundError: There is no package.
        ConfigError: ``platform`` is neither a name nor a profile (``platform.unknown``).
        ConfigError: The file is no platform profile.
    """
    profile = _profile(platform)
    try:
        with host.packages.open(path) as package:
            try:
                findings = check_compatibility(package.manifest, quantization_of(package), profile)
            except (ConfigError, PackageError) as error:
                findings = (_unreadable(error),)
            return _kept(host, _report(host, "compatibility", path, package, Measurement([*findings])))
    except PackageError as error:
        return _report(host, "compatibility", path, None, Measurement([_unreadable(error)]))


def verify_deployment(
    host: Host, path: Path, config: VerificationConfig, name: str | None, reporter: Reporter
) -> Report:
    """Is this very package active and ready, does it answer rightly, quickly and without errors?

    Raises:
        NotFoundError: There is no package, or no deployment of that name is active.
        ConflictError: Several deployments serve the package and ``name`` is None.
    """
    try:
        package = host.packages.open(path)
    except PackageError as error:
        return _report(host, "deployment", path, None, Measurement([_unreadable(error)]))
    with package:
        try:
            revision = match_digest(_active(host), package.digest, name)
        except NotFoundError as error:
            if error.code == "deployment.not_found":
                raise
            return _report(host, "deployment", path, package, Measurement([_not_active(error)]))
        status = _status(host, revision.deployment)
        measurement = measure_deployment(host, revision, status, package, config, reporter)
        report = _report(host, "deployment", path, package, measurement)
    host.reports.save(revision.deployment, report)
    return report


def _verify(
    host: Host,
    kind: str,
    path: Path,
    integrity: tuple[Finding, ...],
    measure: Callable[[PackageReader], Measurement],
) -> Report:
    """Integrity first; what is measured of a damaged package means nothing, so then the rest is left out."""
    try:
        package = host.packages.open(path)
    except PackageError as error:
        # Nearly always told by integrity already; else the file changed while it was read.
        findings = integrity if _has_failure(integrity) else (*integrity, _unreadable(error))
        return _report(host, kind, path, None, Measurement([*findings]))
    with package:
        measurement = Measurement() if _has_failure(integrity) else measure(package)
        measurement.findings[:0] = integrity
        return _kept(host, _report(host, kind, path, package, measurement))


def _report(host: Host, kind: str, path: Path, package: PackageReader | None, measurement: Measurement) -> Report:
    subject = None
    if package is not None:
        manifest = package.manifest
        subject = Subject(name=manifest.name, version=manifest.version, digest=package.digest, source=str(path))
    return Report(
        kind=kind,
        subject=subject,
        created_at=host.clock.now(),
        findings=tuple(measurement.findings),
        figures=measurement.figures,
        unavailable=measurement.unavailable,
    )


def _kept(host: Host, report: Report) -> Report:
    """The report, kept under every deployment that serves its package."""
    for revision in _active(host):
        if report.subject is not None and revision.digest == report.subject.digest:
            host.reports.save(revision.deployment, report)
    return report


def _active(host: Host) -> Iterable[Revision]:
    for deployment in host.ledger.deployments():
        if deployment.active_revision is not None:
            yield host.ledger.revision(deployment.name, deployment.active_revision)


def _status(host: Host, deployment: str) -> DeploymentStatus | None:
    """What the supervisor says, None where none runs."""
    found = read_status(host)
    if found.supervisor is None:
        return None
    return next((status for status in found.deployments if status.deployment.name == deployment), None)


def _profile(platform: str) -> PlatformProfile:
    path = Path(platform)
    if path.is_file():
        return load_config(PlatformProfile, path)
    named = parse_platform(platform)
    if named is None:
        raise ConfigError(
            f"{platform!r} is neither a platform such as linux/amd64 nor a platform profile",
            hint="write os/architecture, or run 'hyperion platform probe' on the target and name its file",
            code="platform.unknown",
        )
    return named


def _has_failure(findings: Iterable[Finding]) -> bool:
    return any(finding.outcome is Outcome.FAILED for finding in findings)


def _unreadable(error: HyperionError) -> Finding:
    return Finding(
        check="integrity.structure",
        outcome=Outcome.FAILED,
        summary="the package breaks the format",
        reason=f"{error.message} [{error.code}]",
        entry=error.entry,
        hint=error.hint,
    )


def _not_active(error: NotFoundError) -> Finding:
    return Finding(
        check=ACTIVE,
        outcome=Outcome.FAILED,
        summary="this package is not active",
        reason=error.message,
        hint=error.hint,
    )
