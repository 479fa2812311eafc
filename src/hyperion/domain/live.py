"""What was live when: which revision took the traffic of a deployment in a period, read from the events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from hyperion.domain.deployment import Revision
from hyperion.domain.document import Document
from hyperion.domain.event import Event, EventKind


@dataclass(frozen=True, slots=True)
class Period:
    """From ``start`` until just before ``end``; a moment is one microsecond long. Both UTC."""

    start: datetime
    end: datetime


class LiveRevision(Document):
    """A revision that took traffic, for as long as its share was the same."""

    revision: Revision
    share: float
    """Of the requests, 0-1: less than 1 only during a canary."""
    since: datetime
    until: datetime | None
    """None while it still does."""
    sequence: int
    """The ledger's event that says so."""


class Outage(Document):
    """A time in which the supervisor was stopped, and served nothing."""

    since: datetime
    until: datetime | None


class LiveHistory(Document):
    """What was live in a period, by deployment."""

    start: datetime
    end: datetime
    """Not part of it."""
    deployments: dict[str, tuple[LiveRevision, ...]]
    """Oldest first; empty where nothing was active."""
    outages: tuple[Outage, ...]
    """Of all deployments: what was active then was not served. A supervisor that was killed did not say so."""


def live_in(period: Period, events: Iterable[Event], revisions: Mapping[int, Revision]) -> tuple[LiveRevision, ...]:
    """What one deployment served in a period.

    Args:
        period: The time in question.
        events: All of the deployment, oldest first.
        revisions: Its revisions by their number.
    """
    events = tuple(events)
    undone = _undone(events)
    trace = _Trace(revisions)
    for event in events:
        if event.sequence not in undone:
            trace.follow(event)
    return tuple(found for found in trace.all() if _overlaps(period, found.since, found.until))


def _undone(events: Iterable[Event]) -> set[int]:
    """Promotions, by sequence, that an abort took back.

    A flip is written down before its warm workers take traffic; where these do not come back, they never did.
    """
    undone: set[int] = set()
    active: int | None = None
    replaced: tuple[int | None, list[int]] = (None, [])
    promotions: list[int] = []
    for event in events:
        if event.kind is EventKind.ROLLOUT_PROMOTED and event.revision is not None:
            if event.revision != active:
                active, replaced, promotions = event.revision, (active, promotions), []
            promotions.append(event.sequence)
        elif event.kind is EventKind.ROLLOUT_ABORTED and active == event.revision is not None:
            undone.update(promotions)
            (active, promotions), replaced = replaced, (None, [])
        elif event.kind is EventKind.DEPLOYMENT_STOPPED:
            active, promotions = None, []
    return undone


def outages_in(period: Period, events: Iterable[Event]) -> tuple[Outage, ...]:
    """When the supervisor was stopped in a period; ``events`` are those of supervisors, oldest first."""
    found: list[Outage] = []
    stopped_at: datetime | None = None
    for event in events:
        if event.kind is EventKind.SUPERVISOR_STOPPED:
            stopped_at = stopped_at or event.at
        elif event.kind is EventKind.SUPERVISOR_STARTED and stopped_at is not None:
            found.append(Outage(since=stopped_at, until=event.at))
            stopped_at = None
    if stopped_at is not None:
        found.append(Outage(since=stopped_at, until=None))
    return tuple(outage for outage in found if _overlaps(period, outage.since, outage.until))


def _overlaps(period: Period, since: datetime, until: datetime | None) -> bool:
    return since < period.end and (until is None or until > period.start)


class _Trace:
    """Follows the events of one deployment; each change of who takes what ends a piece of its history."""

    def __init__(self, revisions: Mapping[int, Revision]) -> None:
        self._revisions = revisions
        self._active: int | None = None
        self._canary: tuple[int, float] | None = None
        self._open: list[LiveRevision] = []
        self._closed: list[LiveRevision] = []

    def follow(self, event: Event) -> None:
        """Take one event into account."""
        number, share = event.revision, event.data.get("share")
        if event.kind is EventKind.ROLLOUT_PROMOTED and number is not None:
            self._active, self._canary = number, None
        elif event.kind is EventKind.ROLLOUT_CANARY and number is not None and isinstance(share, int | float):
            self._canary = (number, float(share))
        elif event.kind is EventKind.ROLLOUT_ABORTED and self._canary is not None and self._canary[0] == number:
            self._canary = None
        elif event.kind is EventKind.DEPLOYMENT_STOPPED:
            self._active = self._canary = None
        else:
            return
        self._turn(event)

    def all(self) -> tuple[LiveRevision, ...]:
        """Every piece, oldest first."""
        return (*self._closed, *self._open)

    def _turn(self, event: Event) -> None:
        self._closed += (piece.model_copy(update={"until": event.at}) for piece in self._open)
        share = 0.0 if self._canary is None else self._canary[1]
        wanted = [] if self._active is None else [(self._active, 1 - share)]
        wanted += [] if self._canary is None else [self._canary]
        self._open = [
            LiveRevision(revision=self._revisions[n], share=part, since=event.at, until=None, sequence=event.sequence)
            for n, part in wanted
            if n in self._revisions
        ]
