"""What a deployment in the supervisor writes to the ledger."""

from __future__ import annotations

import logging

from hyperion.domain.document import JsonValue
from hyperion.domain.event import EventDraft, EventKind
from hyperion.errors import HyperionError
from hyperion.ports import Ledger

_log = logging.getLogger(__name__)


class DeploymentRecord:
    """The ledger, as one deployment uses it; ``actor`` is who asked for the rollout in progress."""

    def __init__(self, ledger: Ledger, deployment: str) -> None:
        self._ledger = ledger
        self._deployment = deployment
        self.actor = "supervisor"

    def promoted(self, revision: int, replaces: int | None, duration_ms: int) -> None:
        """Make the revision active: the one durable write on the path of a switch.

        Raises:
            HyperionError: It could not be written; nothing changed.
        """
        draft = self._draft(EventKind.ROLLOUT_PROMOTED, revision, {"from": replaces, "duration_ms": duration_ms})
        self._ledger.promote(self._deployment, revision, draft)

    def aborted(self, revision: int, active: int | None, reason: str, duration_ms: int, *, stopped: bool) -> str | None:
        """Make what is active desired again, unless the deployment was stopped; returns why that failed, or None."""
        draft = self._draft(EventKind.ROLLOUT_ABORTED, revision, {"reason": reason, "duration_ms": duration_ms})
        try:
            if stopped:
                self._ledger.append(draft)
            else:
                self._ledger.restore_desired(self._deployment, active, draft)
        except HyperionError as error:
            _log.error("the abort of %s revision %d could not be recorded: %s", self._deployment, revision, error)
            return f"the abort of revision {revision} could not be recorded: {error.message}"
        return None

    def note(self, kind: EventKind, revision: int | None, **data: JsonValue) -> None:
        """Append an event that nothing depends on: where that fails, it is logged and work goes on."""
        try:
            self._ledger.append(self._draft(kind, revision, data))
        except HyperionError as error:
            _log.warning("the event %s of %s could not be recorded: %s", kind, self._deployment, error)

    def _draft(self, kind: EventKind, revision: int | None, data: dict[str, JsonValue]) -> EventDraft:
        return EventDraft(kind=kind, deployment=self._deployment, revision=revision, actor=self.actor, data=data)
