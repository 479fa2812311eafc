"""Which revision a deployment's events make active: what its pointers in the ledger must agree with.

The pointers lie beside the chain of hashes, not in it. Moved by another hand they would have the next supervisor serve
another revision, and no event would say so.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from hyperion.domain.deployment import Deployment
from hyperion.domain.event import Event, EventKind

MOVING = (
    EventKind.REVISION_CREATED,
    EventKind.ROLLOUT_PROMOTED,
    EventKind.ROLLOUT_ABORTED,
    EventKind.DEPLOYMENT_STOPPED,
)
"""The kinds of events that move a pointer, each in the transaction that moves it."""


@dataclass(frozen=True, slots=True)
class Pointers:
    """The revisions of one deployment that stand out, as far as its events were followed."""

    desired: int | None = None
    active: int | None = None
    last_active: int | None = None
    before: int | None = None
    """What was active before ``active``, which takes over again where a flip fails."""

    def after(self, event: Event) -> Pointers:
        """The pointers once ``event``, the next one of this deployment, has happened."""
        number = event.revision
        if event.kind is EventKind.REVISION_CREATED:
            return Pointers(number, self.active, self.last_active, self.before)
        if event.kind is EventKind.ROLLOUT_PROMOTED:
            return Pointers(self.desired, number, number, self.active)
        if event.kind is EventKind.DEPLOYMENT_STOPPED:
            return Pointers(None, None, self.last_active, self.before)
        if event.kind is EventKind.ROLLOUT_ABORTED:
            active = self.before if self.active == number is not None else self.active
            return Pointers(active, active, active or self.last_active, self.before)
        return self


def astray(deployments: Iterable[Deployment], events: Iterable[Event]) -> dict[str, str]:
    """How the pointers of deployments disagree with the events, in words, by deployment; empty where they agree.

    Args:
        deployments: As the ledger has them.
        events: All that move pointers (``MOVING``), oldest first.
    """
    expected: dict[str, Pointers] = {}
    for event in events:
        if event.deployment is not None:
            expected[event.deployment] = expected.get(event.deployment, Pointers()).after(event)
    faults = dict.fromkeys(expected, "it is not there, though events tell of it")
    for deployment in deployments:
        wanted = expected.get(deployment.name, Pointers())
        pairs = {
            "desired": (wanted.desired, deployment.desired_revision),
            "active": (wanted.active, deployment.active_revision),
            "last active": (wanted.last_active, deployment.last_active_revision),
        }
        told = [f"{name}: expected {_told(a)}, found {_told(b)}" for name, (a, b) in pairs.items() if a != b]
        faults.pop(deployment.name, None)
        if told:
            faults[deployment.name] = "; ".join(told)
    return faults


def _told(revision: int | None) -> str:
    return "no revision" if revision is None else f"revision {revision}"
