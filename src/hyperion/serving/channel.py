"""What a supervisor and its worker say to each other: one JSON object a line over an inherited socket pair.

The supervisor speaks first (Start). Both ends live in one installation, so one version suffices: a worker that is
told another one (the software was replaced under a running supervisor) refuses by name.
"""

from __future__ import annotations

from typing import Any

import msgspec

CHANNEL_VERSION = 2
LINE_LIMIT = 4 * 1024 * 1024
"""Longest message; findings of many golden requests are the largest."""


class WorkerLimits(msgspec.Struct, frozen=True):
    """The limits of deployment.json; see domain.config.Limits."""

    max_body_bytes: int
    max_header_bytes: int
    header_timeout_s: float
    request_timeout_s: float
    max_inflight: int


class Start(msgspec.Struct, frozen=True, tag="start"):
    """Everything that a worker needs to know; the rest comes from the store."""

    version: int
    server_version: str
    deployment: str
    model: str
    model_version: str
    revision: int
    digest: str
    worker: str
    threads: int
    workers: int
    """How many serve the revision."""
    image: str
    """``auto``, ``on`` or ``off``; see domain.image."""
    images: dict[str, str]
    """Host images of the package by key, as the ledger has them."""
    batching: str
    """``auto``, ``on`` or ``off``; see domain.config.Batching."""
    max_batch: int
    max_wait_ms: float
    tuning: dict[str, Any] | None
    """What this host measured of the package (domain.tuning.Tuning as JSON)."""
    limits: WorkerLimits
    drain_timeout_s: float
    metrics_dir: str


class AcceptTraffic(msgspec.Struct, frozen=True, tag="accept"):
    pass


class LeaveTraffic(msgspec.Struct, frozen=True, tag="lame_duck"):
    deadline_s: float


class Loaded(msgspec.Struct, frozen=True, tag="loaded"):
    load_ms: float
    image: bool = False
    """Whether it was loaded from a host image."""
    image_fault: str | None = None
    """Why it was not, where it should have been."""


class Gated(msgspec.Struct, frozen=True, tag="gated"):
    """The proof's outcome; ``findings`` are domain.finding.Finding as JSON."""

    findings: list[dict[str, Any]]
    run_ms: float
    """Median time of a warm run."""
    max_batch: int = 1
    """Most rows that share a run."""
    batching: str = ""
    """Why so many, in words."""


class Accepting(msgspec.Struct, frozen=True, tag="accepting"):
    pass


class LameDucked(msgspec.Struct, frozen=True, tag="lame_ducked"):
    connections: int


class Drained(msgspec.Struct, frozen=True, tag="drained"):
    cut: int
    """Connections that were closed at the deadline."""


class CannotServe(msgspec.Struct, frozen=True, tag="cannot_serve"):
    """The worker ends; ``reason`` is for the operator."""

    reason: str


ToWorker = Start | AcceptTraffic | LeaveTraffic
ToSupervisor = Loaded | Gated | Accepting | LameDucked | Drained | CannotServe

_to_worker: msgspec.json.Decoder[ToWorker] = msgspec.json.Decoder(ToWorker)
_to_supervisor: msgspec.json.Decoder[ToSupervisor] = msgspec.json.Decoder(ToSupervisor)


def encode(message: ToWorker | ToSupervisor) -> bytes:
    """One line."""
    return msgspec.json.encode(message) + b"\n"


def parse_order(line: bytes) -> ToWorker:
    """What the supervisor says.

    Raises:
        msgspec.DecodeError: The line is no message of this version.
    """
    return _to_worker.decode(line)


def parse_report(line: bytes) -> ToSupervisor:
    """What a worker says; raises as parse_order."""
    return _to_supervisor.decode(line)
