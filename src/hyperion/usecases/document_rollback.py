"""The operator's word on a rollback, and its record."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from hyperion.domain.deployment import Origin, Revision, find_deployment
from hyperion.domain.event import Event, EventDraft, EventKind
from hyperion.domain.history import RevisionHistory, trace_revisions
from hyperion.domain.rollback import RollbackNote, RollbackRecord
from hyperion.errors import NotFoundError
from hyperion.ports import Host
from hyperion.usecases.backup_folder import open_backup
from hyperion.usecases.record import record_event
from hyperion.usecases.rollback import require_reason


def document_rollback(host: Host, backup: Path, reason: str) -> RollbackRecord:
    """Add the operator's note to the latest rollback to a backup, and return that rollback's record.

    Raises:
        ConfigError: The note is blank, too long or no text.
        NotFoundError: There is no backup (code ``backup.not_found``), or nothing was rolled back to it
            (code ``rollback.not_found``).
    """
    require_reason(reason)
    kept = open_backup(backup).backup
    return _note(host, kept.deployment, reason, f"to {backup}", digest=kept.digest)


def document_latest_rollback(host: Host, name: str, reason: str) -> RollbackRecord:
    """The same for a deployment's latest rollback, whatever it went to and whoever asked for it.

    Raises:
        ConfigError: The note is blank, too long or no text.
        NotFoundError: There is no such deployment, or it was never rolled back (code ``rollback.not_found``).
    """
    require_reason(reason)
    deployment = find_deployment(host.ledger.deployments(), name)
    return _note(host, deployment.name, reason, "at all")


def _note(host: Host, deployment: str, reason: str, what: str, digest: str | None = None) -> RollbackRecord:
    revision = _latest_rollback(host, deployment, what, digest)
    draft = EventDraft(
        kind=EventKind.ROLLBACK_NOTED,
        deployment=revision.deployment,
        revision=revision.number,
        actor=host.facts.user(),
        data={"note": reason},
    )
    record_event(host, draft)
    return _record_of(host, revision)


def _latest_rollback(host: Host, deployment: str, what: str, digest: str | None) -> Revision:
    """The latest rollback of a deployment, to this digest where one is given."""
    for revision in reversed(host.ledger.revisions(deployment)):
        if revision.origin is Origin.ROLLBACK and digest in (None, revision.digest):
            return revision
    package = "" if digest is None else f" ({digest})"
    raise NotFoundError(
        f"deployment {deployment!r} was never rolled back {what}{package}",
        hint=f"'hyperion history {deployment}' lists its revisions; roll back with 'hyperion rollback model'",
        code="rollback.not_found",
    )


def _record_of(host: Host, revision: Revision) -> RollbackRecord:
    name = revision.deployment
    events = host.ledger.events(name)
    (history,) = trace_revisions([revision], events)
    created = next(e for e in events if e.kind is EventKind.REVISION_CREATED and e.revision == revision.number)
    replaced = None if revision.replaces is None else host.ledger.revision(name, revision.replaces)
    return RollbackRecord(
        deployment=name,
        at=revision.created_at,
        actor=revision.actor,
        reason=revision.reason or "",
        from_revision=replaced,
        to_revision=revision,
        state=history.state,
        promoted_at=history.promoted_at,
        aborted_reason=history.aborted_reason,
        duration_ms=_duration_ms(created.at, history),
        sequence=created.sequence,
        hash=created.hash,
        notes=tuple(_told(e) for e in events if _is_note_of(e, revision)),
    )


def _duration_ms(start: datetime, history: RevisionHistory) -> int | None:
    return None if history.settled_at is None else round(1000 * (history.settled_at - start).total_seconds())


def _is_note_of(event: Event, revision: Revision) -> bool:
    return event.kind is EventKind.ROLLBACK_NOTED and event.revision == revision.number


def _told(event: Event) -> RollbackNote:
    return RollbackNote(at=event.at, actor=event.actor, text=str(event.data.get("note", "")))
