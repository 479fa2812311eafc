"""`version check`, `version update` and `version recover`."""

from __future__ import annotations

from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from hyperion.domain.digest import digest_of
from hyperion.domain.document import Digest, Document
from hyperion.domain.finding import Finding, Outcome
from hyperion.domain.manifest import HistoryLine, Manifest
from hyperion.domain.version import Step, Version
from hyperion.errors import ConfigError, PackageError
from hyperion.format.limits import MAX_MANIFEST_BYTES
from hyperion.format.manifest_json import manifest_bytes
from hyperion.format.package import PackageReader
from hyperion.format.signing import make_bundle, read_bundle, statement_for
from hyperion.ports import Host
from hyperion.ports.files import ChangeMethod, Repair
from hyperion.usecases.compare import require_honest_step, step_finding
from hyperion.usecases.measurements import carry_measurements
from hyperion.usecases.source_date import source_date

if TYPE_CHECKING:
    from hyperion.format.signing_key import SigningKey

__all__ = [
    "VersionRecovery",
    "VersionSummary",
    "VersionUpdate",
    "check_version",
    "recover_version",
    "update_version",
]

MAX_MESSAGE_CHARACTERS = 10_000


class VersionSummary(Document):
    """What a package says of its version, and whether that holds together."""

    name: str
    version: str
    format_version: int
    digest: Digest
    is_prerelease: bool
    parent: str | None
    """Version of the package that this one was made from."""
    history: tuple[HistoryLine, ...]
    """Oldest first."""
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        return all(finding.outcome is not Outcome.FAILED for finding in self.findings)


class VersionUpdate(Document):
    """A version that was raised."""

    name: str
    path: str
    version_before: str
    version: str
    digest_before: Digest
    digest: Digest
    line: HistoryLine
    method: ChangeMethod
    repair: Repair
    signing: Literal["none", "void", "signed"]
    """Unsigned before and after; signed before and void now; signed now."""
    signed_before_by: str | None
    """Hint of the key that had signed the package before, where its signing says."""


class VersionRecovery(Document):
    """What was found of an interrupted change, and what the package is now."""

    name: str
    path: str
    version: str
    digest: Digest
    repair: Repair
    is_signed: bool


def check_version(host: Host, path: Path) -> VersionSummary:
    """Read a package's version and check it against its history and its parent.

    Raises:
        NotFoundError: There is nothing at ``path``.
        PackageError: It is no package; a version that is not SemVer 2.0.0 counts as that.
    """
    with host.packages.open(path) as package:
        manifest, digest = package.manifest, package.digest
    version = Version.parse(manifest.version)
    findings = (
        Finding(check="version.semver", outcome=Outcome.PASSED, summary=f"{version} is a semantic version"),
        _check_history(manifest),
        step_finding(manifest),
    )
    return VersionSummary(
        name=manifest.name,
        version=manifest.version,
        format_version=manifest.format_version,
        digest=digest,
        is_prerelease=version.prerelease is not None,
        parent=manifest.parent.version if manifest.parent else None,
        history=manifest.history,
        findings=findings,
    )


def update_version(
    host: Host, path: Path, step: Step, message: str | None, key: SigningKey | None = None
) -> VersionUpdate:
    """Raise a package's version in place and record it in its history; no payload is read or moved.

    What was signed is the package of before: its signing goes, unless ``key`` signs anew in the same write.

    Args:
        host: What the use case runs on.
        path: Package file or directory.
        step: Which part of the version to raise.
        message: Why, for the history.
        key: Signs the package of after.

    Raises:
        ConfigError: The message is too long or no text, or SOURCE_DATE_EPOCH is no count of seconds.
        ConflictError: ``path`` is a backup (code ``package.backup``), another process changes it (``package.locked``),
            or the step is smaller than what changed since the parent asks for (``version.step_too_small``).
        PackageError: It is no package.
        HostError: No space, no permission.
    """
    _require_message(message or "")
    with host.packages.changing(path) as change:
        package, before = change.package, change.package.manifest
        version = Version.parse(before.version).bump(step)
        require_honest_step(before, version)
        date = source_date() or host.clock.now().astimezone(UTC).replace(microsecond=0)
        line = HistoryLine(version=str(version), message=message or "", date=date, digest_before=package.digest)
        after = before.model_copy(update={"version": str(version), "history": (*before.history, line)})
        raw = manifest_bytes(after)
        if len(raw) > MAX_MANIFEST_BYTES:
            raise ConfigError(
                f"{path}: with this line of history the manifest has {len(raw)} bytes; at most {MAX_MANIFEST_BYTES} "
                "are read",
                hint="shorten the message, or package the model anew",
            )
        signing = None if key is None else make_bundle(statement_for(raw, after), key)
        method = change.put(raw, signing)
        carry_measurements(host, before, package.digest, digest_of(raw))
        return VersionUpdate(
            name=before.name,
            path=str(path),
            version_before=before.version,
            version=str(version),
            digest_before=package.digest,
            digest=digest_of(raw),
            line=line,
            method=method,
            repair=change.repair,
            signing="signed" if signing else "void" if package.signing else "none",
            signed_before_by=_signer(package),
        )


def recover_version(host: Host, path: Path) -> VersionRecovery:
    """Repair a package whose change was interrupted: finished, or taken back where it had not arrived whole.

    Raises:
        NotFoundError: There is nothing at ``path``.
        ConflictError: ``path`` is a backup (code ``package.backup``), or another process changes it
            (``package.locked``).
        PackageError: It is damaged otherwise, or no package; it was not touched.
        HostError: No permission, or the disk failed.
    """
    with host.packages.changing(path) as change:
        package = change.package
        return VersionRecovery(
            name=package.manifest.name,
            path=str(path),
            version=package.manifest.version,
            digest=package.digest,
            repair=change.repair,
            is_signed=package.signing is not None,
        )


def _require_message(message: str) -> None:
    if len(message) > MAX_MESSAGE_CHARACTERS:
        raise ConfigError(f"the message has {len(message)} characters; at most {MAX_MESSAGE_CHARACTERS} are kept")
    try:
        message.encode()
    except UnicodeEncodeError as error:
        raise ConfigError(f"the message is no UTF-8 text: {message[:40]!r}") from error


def _check_history(manifest: Manifest) -> Finding:
    check = "version.history"
    if not manifest.history:
        return Finding(check=check, outcome=Outcome.PASSED, summary="no history: the version it was packaged as")
    last = manifest.history[-1].version
    if last != manifest.version:
        return Finding(
            check=check,
            outcome=Outcome.FAILED,
            summary="the history ends at another version",
            reason=f"the manifest says {manifest.version}, the last line of its history {last}",
            measured=last,
            limit=manifest.version,
        )
    count = len(manifest.history)
    counted = "1 line of history ends" if count == 1 else f"{count} lines of history end"
    return Finding(check=check, outcome=Outcome.PASSED, summary=f"{counted} at {last}")


def _signer(package: PackageReader) -> str | None:
    """Hint of the key that a package's signing names; None where there is none or it does not say."""
    if package.signing is None:
        return None
    try:
        return read_bundle(package.signing, package.source).hint
    except PackageError:
        return None
