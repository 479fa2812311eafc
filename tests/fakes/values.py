"""Revisions and events with every field set, for tests that care about one of them."""

from __future__ import annotations

from typing import Any

from hyperion.domain.config import DeploymentConfig
from hyperion.domain.deployment import Origin, Revision
from hyperion.domain.digest import digest_of
from hyperion.domain.event import EventDraft, EventKind
from tests.fakes.clock import START


def make_revision(number: int = 1, deployment: str = "mlp", **fields: Any) -> Revision:
    defaults: dict[str, Any] = {
        "deployment": deployment,
        "number": number,
        "digest": digest_of(f"package {number}".encode()),
        "model": "test-mlp",
        "version": f"1.{number}.0",
        "config": DeploymentConfig(name=deployment),
        "origin": Origin.DEPLOY,
        "reason": None,
        "replaces": None,
        "actor": "alice",
        "created_at": START,
    }
    return Revision(**(defaults | fields))


def make_draft(kind: EventKind = EventKind.WORKER_READY, deployment: str | None = "mlp", **fields: Any) -> EventDraft:
    return EventDraft(**({"kind": kind, "deployment": deployment, "revision": None, "actor": "alice"} | fields))
