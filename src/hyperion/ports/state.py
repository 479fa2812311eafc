"""What this host remembers: packages, ledger, reports, logs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

# Only types are spoken of here: the supervisor needs no numpy, and a worker's start is waited for.
if TYPE_CHECKING:
    from hyperion.domain.deployment import Deployment, Revision
    from hyperion.domain.event import Event, EventDraft, EventKind, LedgerHead
    from hyperion.domain.finding import Report
    from hyperion.domain.scheme import HostMeasurements
    from hyperion.domain.tuning import Tuning
    from hyperion.format.file_state import FileState
    from hyperion.format.package import PackageReader


class PackageStore(Protocol):
    """Packages on this host, one read-only file per entry under its digest; written once, never changed."""

    def admit(self, package: PackageReader, progress: Callable[[int], None] | None = None) -> str:
        """Copy what is missing, verifying every digest while copying; returns the package's digest.

        Raises:
            DigestMismatchError: An entry is not what its manifest says; nothing of the package is admitted.
            HostError: No space, no permission.
        """

    def has(self, digest: str) -> bool: ...

    def open(self, digest: str) -> PackageReader:
        """Raises NotFoundError (code ``store.package_not_found``) where it was never admitted."""

    def export(self, digest: str, output: Path) -> None:
        """Write the package as one file, bit-identical to the file it came from; atomic, durable."""

    def export_tree(self, digest: str, output: Path, shared: Mapping[str, Path]) -> int:
        """Write the package as a directory of read-only files, not verified; returns the bytes that it shares.

        Args:
            digest: The package's.
            output: An empty folder.
            shared: Files by the digest of what they hold. They become hard links in place of copies, where they are
                this user's, nobody may write them, and the file system can; the store's own files never do, so that
                damage to the one does not reach the other.

        Raises:
            NotFoundError: It was never admitted.
            HostError: No space, no permission.
        """


class ProofRecord(Protocol):
    """Which files were proven to hold what, so that nothing is digested twice while it does not change.

    A record that is lost, damaged or out of reach is an empty one: that costs time, and nothing else.
    """

    def recall(self, files: Iterable[tuple[FileState, str]]) -> dict[tuple[FileState, str], datetime]:
        """When each of these files, in this very state, was last found to hold this digest; without those unknown."""

    def remember(self, files: Iterable[tuple[FileState, str]], began_at: datetime) -> None:
        """Keep that these files hold these digests.

        Files that changed within the last seconds before ``began_at`` are left out: a later change might not show.

        Args:
            files: State and digest of each file; the state was the same before and after it was read.
            began_at: The wall clock when reading began.
        """


class Ledger(Protocol):
    """The append-only, hash-chained sequence of events, and the pointers that it moves."""

    def append(self, draft: EventDraft) -> Event: ...

    def create_revision(self, revision: Revision, *following: EventDraft, active: bool = False) -> Event:
        """Store the revision (its number must be the next one), make it desired, append its event: one transaction.

        Args:
            revision: The revision.
            following: Events that come with it, right after its own.
            active: Whether it becomes active at once, as what takes over workers that are proven already.

        Returns:
            Its own event.
        """

    def promote(self, deployment: str, revision: int, draft: EventDraft) -> Event:
        """Make the revision active, append the event: one transaction."""

    def restore_desired(self, deployment: str, revision: int | None, draft: EventDraft) -> Event:
        """After an abort: this revision is what is desired and active, append the event: one transaction."""

    def stop(self, deployment: str, draft: EventDraft) -> Event:
        """Desired and active become None, append the event: one transaction."""

    def deployments(self) -> tuple[Deployment, ...]: ...

    def deployment(self, name: str) -> Deployment | None:
        """The deployment of that very name; None where there is none."""

    def latest_number(self, deployment: str) -> int:
        """The number of its latest revision; 0 where it has none."""

    def revision(self, deployment: str, number: int) -> Revision:
        """Raises NotFoundError (code ``revision.not_found``)."""

    def revisions(self, deployment: str) -> tuple[Revision, ...]:
        """Oldest first."""

    def events(
        self, deployment: str | None = None, kinds: Iterable[EventKind] | None = None, since: int = 0
    ) -> tuple[Event, ...]:
        """Oldest first, those after sequence ``since``."""

    def head(self) -> LedgerHead: ...

    def tidy(self) -> None:
        """Do what writes have put off, where that is much; call it when nobody waits."""

    def first_broken(self) -> int | None:
        """The sequence of the first event whose hash or predecessor is wrong; None where the chain is whole."""


class ReportStore(Protocol):
    """Reports are kept under their deployment, measurements under the package and the platform."""

    def save(self, deployment: str, report: Report) -> Path: ...

    def recent(self, deployment: str, kind: str | None = None, limit: int | None = None) -> tuple[Report, ...]:
        """Newest first, at most ``limit``."""

    def save_measurements(self, found: HostMeasurements) -> Path:
        """Keep them in place of earlier ones of the same package and platform."""

    def measurements(self, digest: str, platform: str) -> HostMeasurements | None:
        """None where that package was not measured on that platform."""

    def save_tuning(self, found: Tuning) -> Path:
        """Keep it in place of an earlier one of the same package and platform."""

    def tuning(self, digest: str, platform: str) -> Tuning | None:
        """None where that package was not tuned on that platform."""


class ServingLog(Protocol):
    """The JSON lines that workers and the supervisor write for a deployment."""

    def read(self, deployment: str, cursor: str | None = None) -> tuple[tuple[dict[str, Any], ...], str]:
        """Lines after ``cursor`` (None: from the beginning), oldest first, and the cursor to go on from."""
