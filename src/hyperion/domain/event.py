"""Events and their chain: each carries the hash of the one before, so a rewritten ledger shows."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum

from pydantic import Field, field_validator

from hyperion.domain.canonical import canonical
from hyperion.domain.document import Document, JsonValue

GENESIS = "sha256:" + "0" * 64
"""What the first event names as the hash before it."""
LARGEST_NUMBER = 2**53 - 1
"""RFC 8785 writes whole numbers without a fraction, and forbids integers beyond this."""


class EventKind(StrEnum):
    SUPERVISOR_STARTED = "supervisor.started"
    SUPERVISOR_STOPPED = "supervisor.stopped"
    REVISION_CREATED = "revision.created"
    ROLLOUT_STARTED = "rollout.started"
    ROLLOUT_CANARY = "rollout.canary"
    """A share of the requests goes to the candidate."""
    ROLLOUT_SHIFTED = "rollout.shifted"
    """What was replaced has left traffic."""
    ROLLOUT_PROMOTED = "rollout.promoted"
    ROLLOUT_ABORTED = "rollout.aborted"
    ROLLOUT_ALERTED = "rollout.alerted"
    """The promoted revision breaks its gates, and nothing goes back by itself."""
    ROLLOUT_ROLLED_BACK = "rollout.rolled_back"
    """The supervisor goes back from the promoted revision by itself."""
    ROLLOUT_FINISHED = "rollout.finished"
    """The promoted revision is watched no more."""
    ROLLBACK_NOTED = "rollback.noted"
    BACKUP_CREATED = "backup.created"
    BACKUP_REMOVED = "backup.removed"
    DEPLOYMENT_STOPPED = "deployment.stopped"
    WORKER_READY = "worker.ready"
    WORKER_EXITED = "worker.exited"
    WORKERS_GAVE_UP = "workers.gave_up"
    WORKERS_UNLOADED = "workers.unloaded"
    """No worker of a revision is left: what they took, and what the host's processes held before and after."""
    WORKERS_ADOPTED = "workers.adopted"
    """A supervisor took over the workers that an earlier one left."""
    WARMTH_ENDED = "warmth.ended"
    """A replaced revision is no longer kept loaded."""
    WORKERS_RENEWED = "workers.renewed"
    """A rolling restart of the active revision's workers was asked for."""
    IMAGE_BUILT = "image.built"
    WORKERS_CONFINED = "workers.confined"
    """What holds the workers of a revision back, as the first of them found it in force."""
    KEY_ADDED = "key.added"
    KEY_REMOVED = "key.removed"


class _Fact(Document):
    """What an event says, but for its place in the chain."""

    kind: EventKind | str = Field(union_mode="left_to_right")
    deployment: str | None = None
    revision: int | None = None
    actor: str
    data: dict[str, JsonValue] = {}

    @field_validator("data")
    @classmethod
    def _exact(cls, data: dict[str, JsonValue]) -> dict[str, JsonValue]:
        if _has_inexact_number(data):
            raise ValueError("expected finite numbers within ±2^53, which every reader of JSON keeps exactly")
        return data


class EventDraft(_Fact):
    """An event before the ledger gave it its place."""

    kind: EventKind

    def after(self, head: LedgerHead, at: datetime) -> Event:
        """The event that this draft becomes as the next one in the chain, recorded ``at``."""
        return self.sealed(head, at)[0]

    def sealed(self, head: LedgerHead, at: datetime) -> tuple[Event, dict[str, JsonValue]]:
        """As ``after``, with all its fields as JSON, as the hash covers them."""
        fields = {name: getattr(self, name) for name in EventDraft.model_fields}
        fields |= {"sequence": head.sequence + 1, "at": at.astimezone(UTC), "previous": head.hash}
        event = Event.model_construct(**fields, hash="")  # what is a draft was validated
        dumped = event.model_dump(mode="json", exclude={"hash", "data"}) | {"data": self.data}  # which is JSON already
        dumped["hash"] = hash_of(dumped)
        return Event.model_construct(**fields, hash=dumped["hash"]), dumped


class Event(_Fact):
    """One audited fact.

    ``kind`` is plain text where only a later Hyperion knows it: what that one wrote can be read and shown, and says
    nothing to the rules of this one.
    """

    sequence: int
    at: datetime
    previous: str
    hash: str

    def follows(self, head: LedgerHead) -> bool:
        """Whether it stands right after ``head`` in an unbroken chain."""
        placed = self.sequence == head.sequence + 1 and self.previous == head.hash
        return placed and self.hash == self.expected_hash()

    def expected_hash(self) -> str:
        """What ``hash`` must be."""
        return hash_of(self.model_dump(mode="json", exclude={"hash"}))


class LedgerHead(Document):
    """The end of the chain: enough to prove later that nothing before it was rewritten."""

    sequence: int
    hash: str


def hash_of(fields: Mapping[str, JsonValue]) -> str:
    """The hash of an event, by all its other fields: sha256 of their canonical JSON (RFC 8785).

    It asks for no Event: a chain is as whole to a Hyperion that does not know the kind of one of its events yet.

    Raises:
        ValueError: They have no canonical JSON.
    """
    return "sha256:" + hashlib.sha256(canonical(dict(fields))).hexdigest()


START = LedgerHead(sequence=0, hash=GENESIS)
"""The end of a chain that has no events yet."""


def _has_inexact_number(value: JsonValue) -> bool:
    if isinstance(value, dict):
        return any(_has_inexact_number(item) for item in value.values())
    if isinstance(value, list):
        return any(_has_inexact_number(item) for item in value)
    # Written so that NaN, which no comparison holds for, is inexact too.
    return isinstance(value, int | float) and not abs(value) <= LARGEST_NUMBER
