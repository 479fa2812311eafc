"""The record of a rollback, for the people who ask later what happened."""

from __future__ import annotations

from datetime import datetime

from hyperion.domain.deployment import Revision
from hyperion.domain.document import Document
from hyperion.domain.history import RevisionState
from hyperion.domain.markdown import plain


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
