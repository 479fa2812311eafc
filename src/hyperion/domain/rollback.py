"""Where a rollback goes, and its record, for the people who ask later what happened."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime

from hyperion.domain.deployment import Revision
from hyperion.domain.digest import PREFIX, short
from hyperion.domain.document import Document
from hyperion.domain.history import RevisionHistory, RevisionState
from hyperion.domain.markdown import plain
from hyperion.domain.version import Version
from hyperion.errors import ConfigError, ConflictError, NotFoundError

MAX_LISTED = 8
"""Revisions that a message names."""
_NUMBER = re.compile(r"r?([1-9]\d{0,8})")
_DIGEST = re.compile(r"sha256:[0-9a-f]{8,64}")


def find_target(text: str, histories: Sequence[RevisionHistory], deployment: str) -> Revision:
    """The revision that ``text`` names, always one with one digest.

    A number names any revision. A version or a digest names what was active under it, the latest where that was so
    several times: then package and digest are the same, and the config is the latest one.

    Args:
        text: A revision (``3``, ``r3``), a version (``1.0.0``), or the beginning of a digest (``sha256:0123abcd``).
        histories: Every revision of the deployment.
        deployment: Its name.

    Raises:
        ConfigError: It is none of these (code ``rollback.target``).
        NotFoundError: The deployment has no such revision (code ``rollback.target_not_found``).
        ConflictError: Several packages bear that version or beginning (code ``rollback.ambiguous``).
    """
    number = _NUMBER.fullmatch(text)
    if number is not None:
        named = [history for history in histories if history.revision.number == int(number[1])]
    elif _DIGEST.fullmatch(text):
        named = [history for history in histories if history.revision.digest.startswith(text)]
    else:
        version = _version(text)
        named = [history for history in histories if history.revision.version == version]
    if number is None:
        served = [history for history in named if history.promoted_at is not None]
        if named and not served:
            raise _never_active(text, named, deployment)
        named = served
    if not named:
        raise NotFoundError(
            f"deployment {deployment!r} has no revision {text}; it has {_listed(histories)}",
            hint=f"'hyperion history {deployment}' shows them; a package from elsewhere comes back from a backup "
            "(--backup)",
            code="rollback.target_not_found",
        )
    if len({history.revision.digest for history in named}) > 1:
        raise ConflictError(
            f"{text} names several packages of {deployment!r}: {_listed(named)}",
            hint=f"choose one by its revision, such as --to {named[-1].revision.number}, or by its digest",
            code="rollback.ambiguous",
        )
    return named[-1].revision


def _version(text: str) -> str:
    try:
        return str(Version.parse(text))
    except ConfigError as error:
        raise ConfigError(
            f"--to: expected a revision (3), a version (1.0.0) or a digest ({PREFIX}0123abcd…), found {text[:80]!r}",
            hint="'hyperion history NAME' shows all three of each revision",
            code="rollback.target",
        ) from error


def _never_active(text: str, named: Sequence[RevisionHistory], deployment: str) -> NotFoundError:
    return NotFoundError(
        f"{text} was never active in {deployment!r}: {_listed(named)} did not come so far",
        hint=f"'hyperion history {deployment}' says why; name it by its revision to try it all the same",
        code="rollback.target_not_found",
    )


def _listed(histories: Sequence[RevisionHistory]) -> str:
    """The latest of these, in words."""
    found = [history.revision for history in histories[-MAX_LISTED:]]
    earlier = f"{len(histories) - len(found)} earlier ones, " if len(histories) > len(found) else ""
    return earlier + (", ".join(f"revision {r.number} ({r.version}, {short(r.digest)})" for r in found) or "none")


class RollbackNote(Document):
    """What an operator wrote about a rollback."""

    at: datetime
    actor: str
    text: str


class RollbackRecord(Document):
    """When, from what, to what, why, and how long it took."""

    deployment: str
    at: datetime
    """When the rollback was asked for."""
    actor: str
    reason: str
    from_revision: Revision | None
    """What was active then; None where nothing was."""
    to_revision: Revision
    state: RevisionState
    """What became of the new revision since."""
    promoted_at: datetime | None
    aborted_reason: str | None
    duration_ms: int | None
    """From the new revision's record to the end of its rollout; None where the ledger does not say."""
    sequence: int
    """Of the ledger's event that made the revision."""
    hash: str
    """Hash of that event."""
    notes: tuple[RollbackNote, ...]

    def to_markdown(self) -> str:
        """The record as a Markdown page; names and reasons are shown as they are and never acted upon."""
        duration = "unknown" if self.duration_ms is None else f"{self.duration_ms / 1000:.1f} s"
        rows = [
            ("When", _time(self.at)),
            ("By", plain(self.actor)),
            ("From", "nothing was active" if self.from_revision is None else _describe(self.from_revision)),
            ("To", _describe(self.to_revision)),
            ("Reason", plain(self.reason)),
            ("Outcome", self._outcome()),
            ("Duration", duration),
            ("Ledger", f"event {self.sequence}, `{self.hash}`"),
        ]
        lines = [f"# Rollback of {plain(self.deployment)}", "", "| | |", "|---|---|"]
        lines += [f"| {name} | {text} |" for name, text in rows]
        lines += ["", "## Notes", ""]
        lines += [f"- {_time(note.at)}, {plain(note.actor)}: {plain(note.text)}" for note in self.notes]
        return "\n".join(lines) + "\n"

    def _outcome(self) -> str:
        if self.promoted_at is not None:
            return f"promoted at {_time(self.promoted_at)}; now {self.state.value}"
        if self.aborted_reason is not None:
            return f"aborted: {plain(self.aborted_reason)}"
        return self.state.value


def _describe(revision: Revision) -> str:
    return f"revision {revision.number}, {plain(revision.model)} {plain(revision.version)}, `{revision.digest}`"


def _time(at: datetime) -> str:
    return at.strftime("%Y-%m-%d %H:%M:%S UTC")
