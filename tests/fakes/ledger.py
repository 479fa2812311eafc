"""The ledger in memory."""

from __future__ import annotations

from collections.abc import Iterable

from hyperion.domain.deployment import Deployment, Revision
from hyperion.domain.event import START, Event, EventDraft, EventKind, LedgerHead
from hyperion.errors import ConflictError, NotFoundError
from hyperion.ports import Clock


class InMemoryLedger:
    """Implements ports.Ledger."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._events: list[Event] = []
        self._revisions: dict[str, list[Revision]] = {}
        self._deployments: dict[str, Deployment] = {}

    def append(self, draft: EventDraft) -> Event:
        event = draft.after(self.head(), self._clock.now())
        self._events.append(event)
        return event

    def create_revision(self, revision: Revision, *following: EventDraft, active: bool = False) -> Event:
        known = self._revisions.get(revision.deployment, [])
        if revision.number != len(known) + 1:
            raise ConflictError(f"the latest is {len(known)}", code="revision.not_next")
        event = self.append(revision.created_event())
        self._revisions[revision.deployment] = [*known, revision]
        if revision.deployment not in self._deployments:
            self._deployments[revision.deployment] = Deployment(
                name=revision.deployment,
                desired_revision=None,
                active_revision=None,
                last_active_revision=None,
                created_at=event.at,
            )
        self._move(revision.deployment, desired_revision=revision.number)
        if active:
            self._activate(revision.deployment, revision.number)
        for draft in following:
            self.append(draft)
        return event

    def promote(self, deployment: str, revision: int, draft: EventDraft) -> Event:
        self.revision(deployment, revision)
        self._activate(deployment, revision)
        return self.append(draft)

    def restore_desired(self, deployment: str, revision: int | None, draft: EventDraft) -> Event:
        self._require(deployment)
        if revision is not None:
            self.revision(deployment, revision)
        self._move(deployment, desired_revision=revision, active_revision=revision)
        if revision is not None:
            self._activate(deployment, revision)
        return self.append(draft)

    def stop(self, deployment: str, draft: EventDraft) -> Event:
        self._require(deployment)
        self._move(deployment, desired_revision=None, active_revision=None)
        return self.append(draft)

    def deployments(self) -> tuple[Deployment, ...]:
        return tuple(sorted(self._deployments.values(), key=lambda deployment: deployment.name))

    def deployment(self, name: str) -> Deployment | None:
        return self._deployments.get(name)

    def latest_number(self, deployment: str) -> int:
        return len(self._revisions.get(deployment, []))

    def revision(self, deployment: str, number: int) -> Revision:
        known = self._revisions.get(deployment, [])
        if not 1 <= number <= len(known):
            raise NotFoundError(f"{deployment!r} has no revision {number}", code="revision.not_found")
        return known[number - 1]

    def revisions(self, deployment: str) -> tuple[Revision, ...]:
        return tuple(self._revisions.get(deployment, []))

    def events(
        self, deployment: str | None = None, kinds: Iterable[EventKind] | None = None, since: int = 0
    ) -> tuple[Event, ...]:
        wanted = None if kinds is None else set(kinds)
        return tuple(
            event
            for event in self._events[since:]
            if (wanted is None or event.kind in wanted) and deployment in (None, event.deployment)
        )

    def head(self) -> LedgerHead:
        last = self._events[-1] if self._events else None
        return START if last is None else LedgerHead(sequence=last.sequence, hash=last.hash)

    def tidy(self) -> None:
        return

    def first_broken(self) -> int | None:
        previous = START
        for event in self._events:
            if not event.follows(previous):
                return event.sequence
            previous = LedgerHead(sequence=event.sequence, hash=event.hash)
        return None

    def _require(self, deployment: str) -> None:
        if deployment not in self._deployments:
            raise NotFoundError(f"there is no deployment {deployment!r}", code="deployment.not_found")

    def _activate(self, deployment: str, revision: int) -> None:
        self._move(deployment, active_revision=revision, last_active_revision=revision)

    def _move(self, deployment: str, **pointers: int | None) -> None:
        self._deployments[deployment] = self._deployments[deployment].model_copy(update=pointers)
