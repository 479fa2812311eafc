"""Integrity: are these the bytes that the packager wrote? Says what is wrong and where, never raises for it."""

from __future__ import annotations

from pathlib import Path

from hyperion.domain.finding import Finding, Outcome
from hyperion.errors import PackageError
from hyperion.format.block_pump import BlockPump
from hyperion.format.package import PackageReader
from hyperion.format.verified import check_content, pump_entry
from hyperion.ports import Host, Reporter

STRUCTURE = "integrity.structure"
DIGESTS = "integrity.digests"
CONTENTS = "integrity.contents"


def check_integrity(host: Host, path: Path, reporter: Reporter) -> tuple[Finding, ...]:
    """Check container and manifest, then every entry's digest, then every entry's content.

    Args:
        host: What the check runs on.
        path: Package in any form.
        reporter: Told of the bytes read.

    Returns:
        One finding for the structure; where it is sound, one for all digests and one for all contents, or one for
        each entry that fails them.

    Raises:
        NotFoundError: There is nothing at ``path``.
        HostError: It cannot be read.
    """
    try:
        package = host.packages.open(path)
    except PackageError as error:
        return (_failure(STRUCTURE, "the package breaks the format", error),)
    with package:
        count = len(package.names())
        structure = Finding(
            check=STRUCTURE, outcome=Outcome.PASSED, summary=f"container and manifest are sound, {count} entries"
        )
        damaged = _check_digests(package, reporter)
        if damaged:
            return (structure, *damaged)  # contents of damaged entries mean nothing
        digests = Finding(
            check=DIGESTS,
            outcome=Outcome.PASSED,
            summary=f"every entry has its digest ({package.manifest.total_bytes} bytes)",
            measured=package.digest,
        )
        return (structure, digests, *_check_contents(package))


def _check_digests(package: PackageReader, reporter: Reporter) -> list[Finding]:
    findings = []
    with reporter.stage("Checking digests", package.manifest.total_bytes, "B") as advance, BlockPump() as pump:
        for name in package.names():
            try:
                pump_entry(package, name, pump, progress=advance)
            except PackageError as error:
                findings.append(_failure(DIGESTS, f"the entry {name!r} is damaged or was edited", error))
    return findings


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
    )


def _plain(value: object) -> str | int | None:
    return value if value is None or isinstance(value, (str, int)) else str(value)
