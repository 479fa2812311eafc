"""Go back to a backup's package and config, and say why."""

from __future__ import annotations

import unicodedata
from datetime import datetime
from pathlib import Path

from hyperion.domain.backup import Backup
from hyperion.domain.deployment import Origin, Revision
from hyperion.domain.event import Event, EventDraft, EventKind
from hyperion.domain.history import RevisionHistory, trace_revisions
from hyperion.domain.rollback import RollbackNote, RollbackRecord
from hyperion.errors import ConfigError, DigestMismatchError, NotFoundError, Problem
from hyperion.ports import Host, Reporter
from hyperion.usecases.backup import OpenedBackup, open_backup
from hyperion.usecases.record import record_event
from hyperion.usecases.roll_out import (
    Candidate,
    DeployResult,
    check_candidate,
    complete_config,
    require_portable_path,
    roll_out,
)

__all__ = ["DeployResult", "document_rollback", "rollback_model"]

MAX_REASON_CHARACTERS = 4096


def rollback_model(host: Host, backup: Path, reason: str, reporter: Reporter) -> DeployResult:
    """Make a new revision of a backup's package and config, for the deployment that the backup names.

    Only integrity, loading, wrong golden answers and the trust policy deny it; all else warns. The policy lets what the
    deployment served before come back. It works on a stopped deployment too.

    Args:
        host: This host.
        backup: A folder that ``backup model`` wrote.
        reason: Why, in the operator's words; kept as it is.
        reporter: Where progress goes.

    Raises:
        ConfigError: The reason is blank (code ``rollback.reason_required``), too long or no text.
        NotFoundError: There is no backup (code ``backup.not_found``).
        PackageError: Its package is broken, or another one than backup.json says (``backup.digest_mismatch``).
        ConflictError: Another rollout of this deployment runs.
        HostError: The supervisor does not come up, or goes away.
    """
    require_reason(reason)
    require_portable_path(backup)
    opened = open_backup(backup)
    candidate = _check(host, opened, reason, reporter)
    host.reports.save(candidate.deployment, candidate.checklist)
    if not candidate.decision.allowed:
        return candidate.result()
    if candidate.active is not None and candidate.active.digest == candidate.digest:
        reporter.warn(f"revision {candidate.active.number} serves this very package; it is proven and started anew")
    return roll_out(host, candidate, reporter)


def document_rollback(host: Host, backup: Path, reason: str) -> RollbackRecord:
    """Add the operator's note to the latest rollback to a backup, and return that rollback's record.

    Raises:
        ConfigError: The note is blank, too long or no text.
        NotFoundError: There is no backup (code ``backup.not_found``), or nothing was rolled back to it
            (code ``rollback.not_found``).
    """
    require_reason(reason)
    kept = open_backup(backup).backup
    revision = _latest_rollback(host, kept, backup)
    draft = EventDraft(
        kind=EventKind.ROLLBACK_NOTED,
        deployment=revision.deployment,
        revision=revision.number,
        actor=host.facts.user(),
        data={"note": reason},
    )
    record_event(host, draft)
    return _record_of(host, revision)


def require_reason(reason: str) -> None:
    """Demand words that say why.

    Raises:
        ConfigError: There are none (code ``rollback.reason_required``), too many of them
            (``rollback.reason_too_long``), or they are not UTF-8 (``rollback.reason_not_utf8``).
    """
    if not any(unicodedata.category(character)[0] not in "CZ" for character in reason):
        raise _reason_error("required", "expected some words that say why, found none", 'write --reason "…"')
    if len(reason) > MAX_REASON_CHARACTERS:
        fault = f"expected at most {MAX_REASON_CHARACTERS} characters, found {len(reason)}"
        raise _reason_error("too_long", fault, "write a summary and where the rest is to be found")
    try:
        reason.encode()
    except UnicodeEncodeError as error:
        fault = f"expected UTF-8, found a byte that is none after {error.start} characters"
        raise _reason_error("not_utf8", fault, "check the terminal's character set") from error


def _reason_error(code: str, fault: str, hint: str) -> ConfigError:
    return ConfigError(
        f"reason: {fault}", problems=[Problem("reason", fault)], hint=hint, code=f"rollback.reason_{code}"
    )


def _check(host: Host, opened: OpenedBackup, reason: str, reporter: Reporter) -> Candidate:
    backup = opened.backup
    with host.packages.open(opened.package_path) as package:
        if package.digest != backup.digest:
            raise DigestMismatchError(
                f"{opened.package_path} is another package than backup.json says: expected {backup.digest}, "
                f"found {package.digest}",
                hint="the backup was changed; choose another one",
                code="backup.digest_mismatch",
                expected=backup.digest,
                actual=package.digest,
            )
        config = opened.config.model_copy(update={"name": backup.deployment})
        config = complete_config(config, backup.model)
        return check_candidate(
            host, opened.package_path, package, config, reporter, origin=Origin.ROLLBACK, reason=reason
        )


def _latest_rollback(host: Host, backup: Backup, path: Path) -> Revision:
    for revision in reversed(host.ledger.revisions(backup.deployment)):
        if revision.origin is Origin.ROLLBACK and revision.digest == backup.digest:
            return revision
    raise NotFoundError(
        f"deployment {backup.deployment!r} was never rolled back to {path} ({backup.digest})",
        hint=f"'hyperion history {backup.deployment}' lists its revisions; roll back with 'hyperion rollback model'",
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
        notes=tuple(_note(e) for e in events if _is_note_of(e, revision)),
    )


def _duration_ms(start: datetime, history: RevisionHistory) -> int | None:
    return None if history.settled_at is None else round(1000 * (history.settled_at - start).total_seconds())


def _is_note_of(event: Event, revision: Revision) -> bool:
    return event.kind is EventKind.ROLLBACK_NOTED and event.revision == revision.number


def _note(event: Event) -> RollbackNote:
    return RollbackNote(at=event.at, actor=event.actor, text=str(event.data.get("note", "")))
