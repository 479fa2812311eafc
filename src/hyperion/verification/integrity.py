"""Integrity: are these the bytes that the packager wrote? Says what is wrong and where, never raises for it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from hyperion.domain.finding import Finding, Outcome
from hyperion.errors import PackageError
from hyperion.format.archive import ArchiveReader
from hyperion.format.package import PackageReader
from hyperion.format.proving import check_crcs
from hyperion.format.side_by_side import available_cores
from hyperion.format.verified import check_content
from hyperion.ports import Host, Reporter
from hyperion.verification.proof import prove_package

STRUCTURE = "integrity.structure"
DIGESTS = "integrity.digests"
CRC = "integrity.crc"
CONTENTS = "integrity.contents"

_BROKEN = "the package breaks the format"
_NO_CRC = Finding(
    check=CRC,
    outcome=Outcome.SKIPPED,
    summary="CRCs were not checked",
    reason="only a package file has them; of a directory, --quick checks structure and sizes alone",
    hint="without --quick, every entry is checked against its digest",
)


def check_integrity(
    host: Host, path: Path, reporter: Reporter, *, recall: bool = False, threads: int | None = None
) -> tuple[Finding, ...]:
    """Check container and manifest, then every entry's digest, then every entry's content.

    What is proven is remembered on this host, for those who ask with ``recall``.

    Args:
        host: What the check runs on.
        path: Package in any form.
        reporter: Told of the bytes that are proven.
        recall: Whether entries that were proven before, in files that are unchanged since, need not be read again.
        threads: How many may read at once; by default one for each core of this process.

    Returns:
        One finding for the structure; where it is sound, one for all digests and one for all contents, or one for
        each entry that fails them.

    Raises:
        NotFoundError: There is nothing at ``path``.
        HostError: It cannot be read.
    """
    package, structure = _opened(host, path)
    if package is None:
        return (structure,)
    with package:
        digests = check_digests(host, package, reporter, recall=recall, threads=threads)
        if digests[0].outcome is Outcome.FAILED:  # contents of damaged entries mean nothing
            return (structure, *digests)
        return (structure, *digests, *_check_contents(package))


def check_digests(
    host: Host, package: PackageReader, reporter: Reporter, *, recall: bool = False, threads: int | None = None
) -> tuple[Finding, ...]:
    """Check every entry's digest in a package that is open; arguments and findings as check_integrity has them."""
    with reporter.stage("Checking digests", package.manifest.total_bytes, "B") as advance:
        cores = threads or available_cores()
        proof = prove_package(package, host.proofs, host.clock, recall=recall, threads=cores, progress=advance)
    if proof.faults:
        return tuple(_failures(DIGESTS, "is damaged or was edited", proof.faults))
    claim = "its digest or those of its chunks" if proof.by_chunks else "its digest"
    summary = f"every entry has {claim} ({package.manifest.total_bytes} bytes; {proof.describe()})"
    return (Finding(check=DIGESTS, outcome=Outcome.PASSED, summary=summary, measured=package.digest),)


def check_quickly(host: Host, path: Path, reporter: Reporter, *, threads: int | None = None) -> tuple[Finding, ...]:
    """Check container, manifest and sizes, then every entry's CRC: finds accidents, at the speed of reading.

    Whoever edits an entry can edit its CRC; contents are not looked at.

    Args:
        host: What the check runs on.
        path: Package in any form.
        reporter: Told of the bytes read.
        threads: How many may read at once; by default one for each core of this process.

    Returns:
        One finding for structure and sizes; where they are sound, one for all CRCs, or one for each entry that fails;
        ``skipped`` for a directory, which has none.

    Raises:
        NotFoundError: There is nothing at ``path``.
        HostError: It cannot be read.
    """
    package, structure = _opened(host, path)
    if package is None:
        return (structure,)
    with package:
        if not isinstance(package, ArchiveReader):
            return (structure, _NO_CRC)
        with reporter.stage("Checking CRCs", package.manifest.total_bytes, "B") as advance:
            faults = check_crcs(package, threads or available_cores(), advance)
        if faults:
            return (structure, *_failures(CRC, "is damaged or was edited", faults))
        summary = (
            f"every entry has its CRC ({package.manifest.total_bytes} bytes); digests and contents were not checked"
        )
        return (structure, Finding(check=CRC, outcome=Outcome.PASSED, summary=summary))


def _opened(host: Host, path: Path) -> tuple[PackageReader | None, Finding]:
    """The package, None where it breaks the format, and what opening it found of its structure."""
    try:
        package = host.packages.open(path)
    except PackageError as error:
        return None, _failure(STRUCTURE, _BROKEN, error)
    summary = f"container and manifest are sound, {len(package.names())} entries"
    return package, Finding(check=STRUCTURE, outcome=Outcome.PASSED, summary=summary)


def _check_contents(package: PackageReader) -> list[Finding]:
    findings = []
    for name in package.names():
        try:
            check_content(package, name)
        except PackageError as error:
            findings.append(_failure(CONTENTS, f"the entry {name!r} does not hold what it should", error))
    if findings:
        return findings
    summary = "weights, documents and assets hold what they should"
    return [Finding(check=CONTENTS, outcome=Outcome.PASSED, summary=summary)]


def _failures(check: str, fault: str, errors: Mapping[str, PackageError]) -> list[Finding]:
    return [_failure(check, f"the entry {name!r} {fault}", error) for name, error in errors.items()]


def _failure(check: str, summary: str, error: PackageError) -> Finding:
    details = error.details()
    return Finding(
        check=check,
        outcome=Outcome.FAILED,
        summary=summary,
        reason=error.message,
        measured=_plain(details.get("actual")),
        limit=_plain(details.get("expected")),
        entry=error.entry,
        hint=error.hint,
        code=error.code,
    )


def _plain(value: object) -> str | int | None:
    return value if value is None or isinstance(value, (str, int)) else str(value)
