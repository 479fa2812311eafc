"""What became of each revision, read from the events; and the record of a rollback."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum

from hyperion.domain.deployment import Deployment, Revision
from hyperion.domain.document import Document, JsonValue
from hyperion.domain.event import Event, EventKind, LedgerHead
from hyperion.domain.finding import Report

CHECKLIST = "checklist"
"""Where the event that starts a rollout holds the filled list; the kind of its report."""


class RevisionState(StrEnum):
    CREATED = "created"
    """Neither promoted nor aborted: its rollout runs, or was cut off."""
    ACTIVE = "active"
    REPLACED = "replaced"
    """It was active until another revision was promoted."""
    STOPPED = "stopped"
    """It was active until its deployment was stopped."""
    ROLLED_BACK = "rolled_back"
    """It was active until the supervisor went back from it by itself; the event says on what evidence."""
    ABORTED = "aborted"


class RevisionHistory(Document):
    """One revision and what became of it."""

    revision: Revision
    state: RevisionState
    promoted_at: datetime | None
    """When it first became active."""
    active_until: datetime | None
    """When it last ceased to be active; None while it is, or where it never was."""
    aborted_at: datetime | None
    aborted_reason: str | None

    @property
    def settled_at(self) -> datetime | None:
        """When its rollout ended, well or not; None where the events do not say."""
        return self.promoted_at or self.aborted_at


class DeploymentHistory(Document):
    """A deployment's revisions and events, oldest first, and its latest reports."""

    deployment: Deployment
    revisions: tuple[RevisionHistory, ...]
    events: tuple[Event, ...]
    reports: tuple[Report, ...]
    """Verifications of what it served and checklists of its revisions, newest first; only the latest."""
    report_revisions: tuple[int | None, ...]
    """The revision that each of them is about; None where none came of it, or nothing served."""
    ledger: LedgerHead
    first_broken: int | None
    """Sequence of the first event of the ledger that was changed since it was written; None where it is whole."""


class RevisionRecord(Document):
    """All that is known of one revision."""

    history: RevisionHistory
    checklist: Report | None
    """As it was filled in when the rollout was asked for; None for what the supervisor went back to by itself."""
    events: tuple[Event, ...]
    """Oldest first."""


def trace_revisions(revisions: Iterable[Revision], events: Iterable[Event]) -> tuple[RevisionHistory, ...]:
    """What became of each revision of one deployment.

    Args:
        revisions: All revisions of the deployment.
        events: Its events, oldest first.
    """
    trace = _Trace()
    for event in events:
        trace.follow(event)
    return tuple(trace.history_of(revision) for revision in revisions)


def revision_of(report: Report, events: Iterable[Event]) -> int | None:
    """The revision that a report is about: the one that a checklist was filled in for, else the one that was active.

    Args:
        report: Of the deployment.
        events: Of the deployment, oldest first.
    """
    active: int | None = None
    for event in events:
        if event.kind is EventKind.ROLLOUT_STARTED and _is_checklist(event.data.get(CHECKLIST), report):
            return event.revision
        if event.at <= report.created_at:
            if event.kind is EventKind.ROLLOUT_PROMOTED:
                active = event.revision
            elif event.kind is EventKind.DEPLOYMENT_STOPPED:
                active = None
    return None if report.kind == CHECKLIST else active


def _is_checklist(found: JsonValue, report: Report) -> bool:
    """Whether what an event keeps, as JSON, is this report: no two of a deployment are made at the same instant."""
    made = report.model_dump(mode="json", include={"created_at"})["created_at"]
    return report.kind == CHECKLIST and isinstance(found, dict) and found.get("created_at") == made


class _Trace:
    """Follows the events of one deployment."""

    def __init__(self) -> None:
        self.active: int | None = None
        self.before: int | None = None
        self.promoted: dict[int, datetime] = {}
        self.ended: dict[int, tuple[datetime, RevisionState]] = {}
        self.gone_back_from: set[int] = set()
        self.aborted: dict[int, Event] = {}

    def follow(self, event: Event) -> None:
        if event.kind is EventKind.ROLLOUT_PROMOTED and event.revision is not None:
            if self.active != event.revision:
                self.before = self.active
                went_back = self.active in self.gone_back_from
                self.end_active(event.at, RevisionState.ROLLED_BACK if went_back else RevisionState.REPLACED)
            self.promoted.setdefault(event.revision, event.at)
            self.ended.pop(event.revision, None)
            self.active = event.revision
        elif event.kind is EventKind.DEPLOYMENT_STOPPED:
            self.end_active(event.at, RevisionState.STOPPED)
        elif event.kind is EventKind.ROLLOUT_ROLLED_BACK and event.revision is not None:
            self.gone_back_from.add(event.revision)
        elif event.kind is EventKind.ROLLOUT_ABORTED and event.revision is not None:
            self.aborted.setdefault(event.revision, event)
            if self.active == event.revision:  # a flip whose workers failed it: what it replaced never left
                del self.promoted[event.revision]
                self.active, self.before = self.before, None
                if self.active is not None:
                    self.ended.pop(self.active, None)

    def end_active(self, at: datetime, state: RevisionState) -> None:
        if self.active is not None:
            self.ended[self.active] = (at, state)
        self.active = None

    def history_of(self, revision: Revision) -> RevisionHistory:
        number = revision.number
        aborted = self.aborted.get(number)
        until, ended_as = self.ended.get(number, (None, None))
        if number == self.active:
            state = RevisionState.ACTIVE
        elif ended_as is not None:
            state = ended_as
        else:
            state = RevisionState.CREATED if aborted is None else RevisionState.ABORTED
        reason = None if aborted is None else aborted.data.get("reason")
        return RevisionHistory(
            revision=revision,
            state=state,
            promoted_at=self.promoted.get(number),
            active_until=until,
            aborted_at=None if aborted is None else aborted.at,
            aborted_reason=None if reason is None else str(reason),
        )
