"""`version check`, `version update` and `version compare`."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

from hyperion.domain.comparison import VersionComparison, compare_manifests, signature_changes
from hyperion.domain.document import Digest, Document
from hyperion.domain.finding import Finding, Outcome
from hyperion.domain.manifest import MANIFEST, HistoryLine, Manifest, Parent
from hyperion.domain.version import Step, Version
from hyperion.errors import ConfigError, ConflictError
from hyperion.format.archive import ArchiveReader, rewrite_manifest
from hyperion.format.directory import DirectoryReader
from hyperion.format.manifest_json import manifest_bytes, read_manifest
from hyperion.ports import Clock, Host

__all__ = [
    "VersionComparison",
    "VersionSummary",
    "VersionUpdate",
    "check_version",
    "compare_versions",
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


def check_version(host: Host, path: Path) -> VersionSummary:
    """Read a package's version and check it against its history and its parent.

    Raises:
        NotFoundError: There is nothing at ``path``.
        PackageError: It is no package; a version that is not SemVer 2.0.0 counts as that.
    """
    with host.packages.open(path) as package:
        manifest, digest = package.manifest, package.digest
    version = Version.parse(manifest.version)
    findings = [
        Finding(check="version.semver", outcome=Outcome.PASSED, summary=f"{version} is a semantic version"),
        _check_history(manifest),
    ]
    if manifest.parent is not None:
        findings.append(_check_parent(manifest, manifest.parent))
    return VersionSummary(
        name=manifest.name,
        version=manifest.version,
        format_version=manifest.format_version,
        digest=digest,
        is_prerelease=version.prerelease is not None,
        parent=manifest.parent.version if manifest.parent else None,
        history=manifest.history,
        findings=tuple(findings),
    )


def update_version(host: Host, path: Path, step: Step, message: str | None) -> VersionUpdate:
    """Raise a package's version in place and record it in its history; the file changes in one step or not at all.

    Args:
        host: What the use case runs on.
        path: Package file or directory.
        step: Which part of the version to raise.
        message: Why, for the history.

    Raises:
        ConfigError: The message is too long, or SOURCE_DATE_EPOCH is no count of seconds.
        ConflictError: ``path`` is a backup, which is never changed (code ``version.backup``).
        PackageError: It is no package.
        HostError: No space, no permission.
    """
    if message is not None and len(message) > MAX_MESSAGE_CHARACTERS:
        raise ConfigError(f"the message has {len(message)} characters; at most {MAX_MESSAGE_CHARACTERS} are kept")
    with host.packages.open(path) as package:
        before = package.manifest
        version = str(Version.parse(before.version).bump(step))
        date = _date(host.clock)
        line = HistoryLine(version=version, message=message or "", date=date, digest_before=package.digest)
        after = before.model_copy(update={"version": version, "history": (*before.history, line)})
        raw = manifest_bytes(after)
        read_manifest(raw, package.source)
        if isinstance(package, DirectoryReader):
            with host.files.replacing(path / MANIFEST) as stream:
                stream.write(raw)
        elif isinstance(package, ArchiveReader) and package.path == path.absolute():
            with host.files.replacing(path) as stream:
                rewrite_manifest(stream, package, raw)
        else:
            raise ConflictError(
                f"{path} is a backup; its package is never changed",
                hint="copy package.hyperion out of it and update the copy",
                code="version.backup",
            )
        digest_before = package.digest
    with host.packages.open(path) as updated:
        digest = updated.digest
    return VersionUpdate(
        name=before.name,
        path=str(path),
        version_before=before.version,
        version=version,
        digest_before=digest_before,
        digest=digest,
        line=line,
    )


def compare_versions(host: Host, a: Path, b: Path) -> VersionComparison:
    """Compare two packages by their manifests; no payload is read.

    Raises:
        NotFoundError: There is nothing at one of the paths.
        PackageError: One of them is no package.
    """
    with host.packages.open(a) as first, host.packages.open(b) as second:
        return compare_manifests((first.manifest, first.digest, str(a)), (second.manifest, second.digest, str(b)))


def _date(clock: Clock) -> datetime:
    """SOURCE_DATE_EPOCH where it is set (reproducible-builds.org), else now; whole seconds, UTC."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    if not epoch:
        return clock.now().astimezone(UTC).replace(microsecond=0)
    try:
        return datetime.fromtimestamp(int(epoch), UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise ConfigError(
            f"SOURCE_DATE_EPOCH is {epoch[:40]!r}; expected seconds since 1970 as a whole number",
            hint="unset it, or set it as https://reproducible-builds.org/docs/source-date-epoch says",
        ) from error


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
    return Finding(
        check=check, outcome=Outcome.PASSED, summary=f"{len(manifest.history)} lines of history end at {last}"
    )


def _check_parent(manifest: Manifest, parent: Parent) -> Finding:
    """A version after its parent's; a changed signature asks for a new major version."""
    check = "version.parent"
    own, before = Version.parse(manifest.version), Version.parse(parent.version)
    changes = signature_changes(parent.signature, manifest.signature)
    reason = None
    if not before.precedes(own):
        reason = f"{own} does not come after its parent's {before}"
    elif changes and own.major == before.major and before.major > 0:
        what = ", ".join(f"{change.path}" for change in changes)
        reason = f"the signature changed ({what}) but the major version is still {own.major}"
    if reason is None:
        return Finding(check=check, outcome=Outcome.PASSED, summary=f"{own} follows its parent's {before}")
    return Finding(
        check=check,
        outcome=Outcome.WARNED,
        summary="the version does not fit its parent's",
        reason=reason,
        hint="raise it with 'hyperion version update F --major' (or --minor, --patch)",
    )
