"""Proving a backup: every byte read, the package restored into a scratch folder, and its golden requests run there."""

from __future__ import annotations

from pathlib import Path

from hyperion.domain.backup import CONFIG_FILE, PACKAGE_FILE, RestoreProof
from hyperion.domain.config import DeploymentConfig
from hyperion.domain.deployment import Revision
from hyperion.domain.gate import decide
from hyperion.errors import HostError, HyperionError, NotFoundError, PackageError
from hyperion.ports import Host, Reporter
from hyperion.usecases.config import load_config
from hyperion.usecases.extract import extract_model
from hyperion.verification.integrity import check_integrity
from hyperion.verification.model import check_model


def package_fault(host: Host, path: Path, digest: str, reporter: Reporter) -> str | None:
    """What is wrong with a package that should have this digest; None where every byte is right."""
    try:
        decision = decide(check_integrity(host, path, reporter))
        if not decision.allowed:
            return decision.denied_by[0].reason or decision.denied_by[0].summary
        with host.packages.open(path) as package:
            return None if package.digest == digest else f"expected {digest}, found {package.digest}"
    except (NotFoundError, PackageError) as error:
        return error.message


def prove_restore(host: Host, staged: Path, folder: Path, revision: Revision, reporter: Reporter) -> RestoreProof:
    """Restore what is in ``staged`` as a rollback would, into a folder that is gone afterwards, and run it there.

    Args:
        host: This host.
        staged: The backup, complete but for backup.json.
        folder: What it will be called; the scratch folder lies beside it.
        revision: What it must be a backup of.
        reporter: Where progress goes.

    Raises:
        HostError: It is not what was to be backed up, or does not run (code ``backup.not_proven``); no space.
    """
    if load_config(DeploymentConfig, staged / CONFIG_FILE) != revision.config:
        raise not_proven(revision, f"{CONFIG_FILE} reads as another config than it was written from")
    with host.files.scratch(folder) as scratch:
        restored = scratch / PACKAGE_FILE
        try:
            summary = extract_model(host, staged, restored, reporter)
            with host.packages.open(restored) as package:
                findings = check_model(host, restored, package, reporter)
        except PackageError as error:
            raise not_proven(revision, error.message) from error
    if summary.digest != revision.digest:
        raise not_proven(revision, f"expected {revision.digest}, found {summary.digest}")
    denied = decide(findings, rescue=True).denied_by
    if denied:
        raise HostError(
            f"{revision.model} {revision.version} is no backup: restored, it fails {denied[0].check}: "
            f"{denied[0].reason or denied[0].summary}",
            hint="'hyperion verify deployment' says how its workers do; what serves has not been touched",
            code="backup.not_proven",
        )
    return RestoreProof(
        at=host.clock.now(),
        platform=host.facts.platform_name(),
        size_bytes=summary.size_bytes,
        findings=findings,
    )


def not_proven(revision: Revision, fault: str) -> HostError:
    """The error of a backup that is none; nothing is kept of it."""
    return HostError(
        f"{revision.model} {revision.version} cannot be backed up as it was admitted: {fault}",
        hint="check the disk; move the damaged file under blobs/sha256 aside, deploy the package again, back it up",
        code="backup.not_proven",
    )


def has_newest_signing(host: Host, folder: Path, digest: str) -> bool:
    """Whether a backup is signed as the store's package is: no digest covers a signing, and it may have come later."""
    try:
        with host.packages.open(folder / PACKAGE_FILE) as kept, host.store.open(digest) as stored:
            return stored.signing in (None, kept.signing)
    except HyperionError:
        return False
