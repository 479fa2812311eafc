"""What a starting supervisor finds: what the ledger desires, and the workers that outlived its predecessor.

The ledger decides. A rollout that it holds as promoted is finished: its workers stay, what it replaced leaves traffic.
One that was not promoted is reverted, whatever its workers had reached: nobody has judged them since.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from hyperion.domain.deployment import Origin, Revision
from hyperion.domain.document import JsonValue
from hyperion.domain.event import EventDraft, EventKind
from hyperion.domain.worker_state import WorkerState
from hyperion.errors import HyperionError, NotFoundError
from hyperion.ports import Ledger
from hyperion.serving.adoption import Survivor, let_go

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Found:
    """A deployment that is to be served, or of which workers live.

    Attributes:
        revision: The one to serve; where nothing is desired, the newest that lives.
        desired: Whether it is to be served; else what lives of it has to leave.
        survivors: Living workers, each with its revision.
        listeners: Listening sockets that were kept open, each with the revision that it is of.
        watch_s: For how long the revision is still to be watched.
        leaves: Why the earlier supervisor began to go back from it; None where it did not.
        reverted: What became of a rollout that the earlier supervisor did not bring to its promotion, in words; None
            where it left none.
    """

    revision: Revision
    desired: bool
    survivors: tuple[tuple[Survivor, Revision], ...] = ()
    listeners: tuple[tuple[socket.socket, Revision], ...] = ()
    watch_s: float = 0.0
    leaves: str | None = None
    reverted: str | None = None

    @property
    def listener(self) -> socket.socket | None:
        """The socket that the revision listens on, where a worker of any revision kept it open."""
        for kept, of in self.listeners:
            if of.config.serve.address == self.revision.config.serve.address:
                return kept
        return None

    def close_copies(self) -> None:
        """Close the listening sockets that nobody needs: one is enough, and those at other addresses are left."""
        for kept, _ in self.listeners:
            if kept is not self.listener:
                kept.close()


def reconcile(ledger: Ledger, survivors: Iterable[Survivor], actor: str, now: datetime) -> tuple[Found, ...]:
    """Every deployment that something is to be done for; rollouts that were not promoted are recorded as aborted.

    Workers that the ledger knows nothing of, as after it was put back from a copy, are ended.
    """
    living: dict[str, list[tuple[Survivor, Revision]]] = {}
    for survivor in survivors:
        who = survivor.who
        try:
            revision = ledger.revision(who.deployment, who.revision)
        except NotFoundError:
            _log.warning("the ledger knows no revision %d of %s: its worker is ended", who.revision, who.deployment)
            survivor.process.kill()
            let_go(survivor)
            continue
        living.setdefault(who.deployment, []).append((survivor, revision))
    found = []
    for deployment in ledger.deployments():
        reverted = None
        if deployment.desired_revision not in (deployment.active_revision, None):
            reverted = _revert(ledger, deployment.name, deployment.desired_revision, deployment.active_revision, actor)
        alive = living.get(deployment.name, [])
        if deployment.active_revision is not None and deployment.desired_revision is not None:
            active = _found(ledger.revision(deployment.name, deployment.active_revision), alive, desired=True)
            found.append(replace(_with_what_follows(active, ledger, actor, now), reverted=reverted))
        elif alive := [one for one in alive if not _leaves_alone(one[0])]:
            found.append(_found(max((of for _, of in alive), key=lambda of: of.number), alive, desired=False))
    return tuple(found)


def _leaves_alone(survivor: Survivor) -> bool:
    """Whether it is on its way out and needs nobody for that; then it is let go."""
    if survivor.worker.state is not WorkerState.LAME_DUCK:
        return False
    let_go(survivor)
    return True


def _found(revision: Revision, alive: list[tuple[Survivor, Revision]], *, desired: bool) -> Found:
    own_first = sorted(alive, key=lambda one: one[1].number != revision.number)
    return Found(
        revision=revision,
        desired=desired,
        survivors=tuple((survivor, of) for survivor, of in alive if survivor.fault is None),
        listeners=tuple((survivor.listener, of) for survivor, of in own_first if survivor.listener is not None),
    )


def _with_what_follows(found: Found, ledger: Ledger, actor: str, now: datetime) -> Found:
    """What the earlier supervisor began after the promotion and did not end: the watch, or the way back."""
    revision, watch_s = found.revision, found.revision.config.gates.watch_s
    kinds = (EventKind.ROLLOUT_PROMOTED, EventKind.ROLLOUT_FINISHED, EventKind.ROLLOUT_ROLLED_BACK)
    events = [event for event in ledger.events(revision.deployment, kinds) if event.revision == revision.number]
    if not events or revision.replaces is None or revision.origin is Origin.ROLLBACK:
        return found
    last = events[-1]
    if last.kind is EventKind.ROLLOUT_ROLLED_BACK:
        return replace(found, leaves=str(last.data.get("reason", "it broke its gates")))
    if last.kind is EventKind.ROLLOUT_FINISHED or not watch_s:
        return found
    left_s = min(watch_s, watch_s - (now - last.at).total_seconds())  # the clock may have been put back meanwhile
    if left_s <= 0:
        _note(ledger, EventKind.ROLLOUT_FINISHED, revision, actor, note="its watch ended while no supervisor ran")
    return replace(found, watch_s=max(0.0, left_s))


def _note(ledger: Ledger, kind: EventKind, revision: Revision, actor: str, **data: JsonValue) -> None:
    """Append an event that nothing depends on."""
    draft = EventDraft(kind=kind, deployment=revision.deployment, revision=revision.number, actor=actor, data=data)
    try:
        ledger.append(draft)
    except HyperionError as error:
        _log.warning("the event %s could not be recorded: %s", kind, error)


def _revert(ledger: Ledger, deployment: str, number: int, active: int | None, actor: str) -> str:
    """Record that the rollout of revision ``number`` is not gone on with; returns why, in words."""
    steps = ledger.events(deployment, (EventKind.ROLLOUT_CANARY,))
    share = next((event.data.get("share") for event in reversed(steps) if event.revision == number), None)
    reached = "before it was promoted"
    if isinstance(share, int | float):
        reached = f"while it was a canary with {100 * share:g}% of the requests, and nobody judged it from then on"
    reason = f"revision {number} was reverted, not finished, by the next supervisor: the one before ended {reached}"
    kind, data = EventKind.ROLLOUT_ABORTED, dict[str, JsonValue](reason=reason)
    draft = EventDraft(kind=kind, deployment=deployment, revision=number, actor=actor, data=data)
    ledger.restore_desired(deployment, active, draft)
    return reason
