"""What a deployment in the supervisor writes to the ledger."""

from __future__ import annotations

import logging

from hyperion.domain.action import Abort, Finish, GoBack
from hyperion.domain.confinement import Protection
from hyperion.domain.deployment import Revision
from hyperion.domain.document import JsonValue
from hyperion.domain.event import EventDraft, EventKind
from hyperion.domain.evidence import Verdict
from hyperion.domain.finding import Finding, in_short
from hyperion.errors import HyperionError
from hyperion.ports import Ledger
from hyperion.serving.unloading import Unloaded

_log = logging.getLogger(__name__)


def begin_rollout(ledger: Ledger, revision: Revision, *, flips: bool, **data: JsonValue) -> None:
    """Make the revision desired, and its rollout begun: one transaction.

    Where it ``flips``, it is active as well, and no other write is on the path of the switch: the warm workers that it
    takes over are proven, and a way back is gone through with.

    Raises:
        HyperionError: It could not be written; nothing changed.
    """

    def draft(kind: EventKind, data: dict[str, JsonValue]) -> EventDraft:
        return EventDraft(
            kind=kind, deployment=revision.deployment, revision=revision.number, actor=revision.actor, data=data
        )

    following = [draft(EventKind.ROLLOUT_STARTED, data)]
    if flips:
        following.append(draft(EventKind.ROLLOUT_PROMOTED, {"from": revision.replaces, "duration_ms": 0}))
    ledger.create_revision(revision, *following, active=flips)


class DeploymentRecord:
    """The ledger, as one deployment uses it; ``actor`` is who asked for the rollout in progress."""

    def __init__(self, ledger: Ledger, deployment: str) -> None:
        self._ledger = ledger
        self._deployment = deployment
        self.actor = "supervisor"

    def promoted(
        self,
        revision: int,
        replaces: int | None,
        duration_ms: int,
        held: Verdict | None,
        proof: tuple[Finding, ...] = (),
    ) -> None:
        """Make the revision active, with what let it pass: the one durable write on the path of a switch.

        Raises:
            HyperionError: It could not be written; nothing changed.
        """
        data: dict[str, JsonValue] = {"from": replaces, "duration_ms": duration_ms, **_evidence(held)}
        if proof:  # workers that were warm had shown it before
            data["proof"] = in_short(proof)
        draft = self._draft(EventKind.ROLLOUT_PROMOTED, revision, data)
        self._ledger.promote(self._deployment, revision, draft)

    def canary(self, revision: int, step: int, share: float, bake_s: float, held: Verdict | None) -> None:
        """A step of a canary, and what let the one before it pass; raises as ``promoted``."""
        data: dict[str, JsonValue] = {"step": step, "share": share, "bake_s": bake_s, **_evidence(held)}
        self._ledger.append(self._draft(EventKind.ROLLOUT_CANARY, revision, data))

    def rolled_back(self, back: GoBack) -> None:
        """That a promoted revision is left, with the evidence; raises as ``promoted``."""
        data: dict[str, JsonValue] = {"to": back.to, "reason": back.reason, **_evidence(back.verdict)}
        self._ledger.append(self._draft(EventKind.ROLLOUT_ROLLED_BACK, back.revision, data))

    def alerted(self, revision: int, verdict: Verdict) -> None:
        """That a promoted revision breaks its gates and stays."""
        self.note(EventKind.ROLLOUT_ALERTED, revision, reason=verdict.reason, **_evidence(verdict))

    def finished(self, finish: Finish) -> None:
        """That a promoted revision is watched no more."""
        self.note(EventKind.ROLLOUT_FINISHED, finish.revision, note=finish.note, **_evidence(finish.verdict))

    def confined(self, revision: int, protections: tuple[Protection, ...]) -> None:
        """What holds the revision's workers back, and what should and does not."""
        held = ", ".join(found.name for found in protections if found.in_force)
        missing = ", ".join(found.name for found in protections if not found.in_force)
        details: dict[str, JsonValue] = {found.name: found.detail for found in protections}
        self.note(EventKind.WORKERS_CONFINED, revision, in_force=held, missing=missing or "nothing", details=details)

    def aborted(self, abort: Abort, active: int | None, duration_ms: int, *, stopped: bool) -> str | None:
        """Make what serves desired and active again, unless the deployment was stopped; returns why that failed."""
        revision = abort.revision
        data: dict[str, JsonValue] = {
            "reason": abort.reason,
            "duration_ms": duration_ms,
            **_evidence(abort.verdict),
        }
        draft = self._draft(EventKind.ROLLOUT_ABORTED, revision, data)
        try:
            if stopped:
                self._ledger.append(draft)
            else:
                self._ledger.restore_desired(self._deployment, active, draft)
        except HyperionError as error:
            _log.error("the abort of %s revision %d could not be recorded: %s", self._deployment, revision, error)
            return f"the abort of revision {revision} could not be recorded: {error.message}"
        return None

    def unloaded(self, revision: int, found: Unloaded) -> None:
        """That no worker of the revision is left, and what the host got back."""
        sizes: dict[str, JsonValue] = {
            "workers": found.workers,
            "taken_bytes": found.taken_bytes,
            "host_before_bytes": found.before_bytes,
            "host_after_bytes": found.after_bytes,
        }
        self.note(EventKind.WORKERS_UNLOADED, revision, **sizes)

    def note(self, kind: EventKind, revision: int | None, **data: JsonValue) -> None:
        """Append an event that nothing depends on: where that fails, it is logged and work goes on."""
        try:
            self._ledger.append(self._draft(kind, revision, data))
        except HyperionError as error:
            _log.warning("the event %s of %s could not be recorded: %s", kind, self._deployment, error)

    def _draft(self, kind: EventKind, revision: int | None, data: dict[str, JsonValue]) -> EventDraft:
        return EventDraft(kind=kind, deployment=self._deployment, revision=revision, actor=self.actor, data=data)


def _evidence(verdict: Verdict | None) -> dict[str, JsonValue]:
    """What a decision of the gates rests on; empty where they decided nothing."""
    return {} if verdict is None else {"evidence": verdict.evidence.model_dump(mode="json")}
