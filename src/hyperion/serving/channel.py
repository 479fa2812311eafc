"""What a supervisor and its worker say to each other: one JSON object a line over an inherited socket pair.

The supervisor speaks first (Start). Both ends live in one installation, so one version suffices: a worker that is
told another one (the software was replaced under a running supervisor) refuses by name.

A worker that outlives its supervisor listens on ``Start.control_path``; the next supervisor connects there, is greeted
with Introduced, and goes on in the same words.
"""

from __future__ import annotations

from typing import Any

import msgspec

CHANNEL_VERSION = 3
LINE_LIMIT = 4 * 1024 * 1024
"""Longest message; findings of many golden requests are the largest."""


class WorkerLimits(msgspec.Struct, frozen=True):
    """The limits of deployment.json; see domain.config.Limits."""

    max_body_bytes: int
    max_header_bytes: int
    header_timeout_s: float
    request_timeout_s: float
    max_inflight: int
    max_connections: int
    max_new_connections_per_s: float | None
    write_timeout_s: float


class KeyGrant(msgspec.Struct, frozen=True):
    """An API key; see domain.access.ApiKey."""

    id: str
    digest: str
    scopes: list[str]
    expires_at: float | None = None
    """Seconds since 1970; None where it never does."""


class Credentials(msgspec.Struct, frozen=True):
    """What the worker shows its clients, as PEM. The key is never logged."""

    certificate: str
    private_key: str


class Guard(msgspec.Struct, frozen=True, tag="guard"):
    """Whom to let in from the next request and connection on; sent again when a key or a file changed."""

    keys: list[KeyGrant] | None = None
    """None where no key is asked for."""
    tls: Credentials | None = None


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
    frames_path: str
    """Unix socket that the worker listens on once it is told OpenFrames."""
    handover_path: str
    """Unix socket over which it is given the live connections of a worker that leaves."""
    control_path: str
    """Unix socket over which a new supervisor adopts it."""
    guard: Guard = Guard()
    address_space_mb: int | None = None
    """See domain.config.MemoryBudget; None for what is measured."""
    p99_ms: float | None = None
    """Most that 99 % of the worker's warm runs may take; see domain.rollout_policy.Gates."""


class AcceptTraffic(msgspec.Struct, frozen=True, tag="accept"):
    """Take traffic; answered by Accepting. Also said to a worker that rests or is warm, which then serves again.

    ``revision`` and ``worker`` are what it is called from now on, in its answers' headers, its logs and its slot; None
    where it keeps its names.
    """

    revision: int | None = None
    worker: str | None = None


class LeaveTraffic(msgspec.Struct, frozen=True, tag="lame_duck"):
    """Take no new connection, finish what is there within ``deadline_s``, then exit; LameDucked, later Drained."""

    deadline_s: float
    heirs: list[str] = []
    """Handover paths of workers that take over live connections; empty where none is to be handed over."""
    idle_s: float | None = None
    """How long connections at rest are waited for, where nobody serves them any more; None: until the deadline."""


class Rest(msgspec.Struct, frozen=True, tag="rest"):
    """As LeaveTraffic, but stay loaded and hold the listening socket: LameDucked, and Rested instead of Drained."""

    deadline_s: float
    heirs: list[str] = []


class OpenFrames(msgspec.Struct, frozen=True, tag="open_frames"):
    """Answer requests that workers of another revision forward; answered by FramesOpen."""


class Route(msgspec.Struct, frozen=True, tag="route"):
    """Forward this share of the requests to a candidate, from the next request on; answered by Routed."""

    revision: int
    share: float
    """0–1; 0 ends it."""
    paths: list[str]
    """Frames paths of the candidate's workers."""
    sticky_header: str | None = None


class Beat(msgspec.Struct, frozen=True, tag="beat"):
    """Are you alive? Answered from the event loop by Beaten."""

    number: int


class Replay(msgspec.Struct, frozen=True, tag="replay"):
    """Run the golden requests again; answered by Replayed."""


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
    protections: list[dict[str, Any]] = []
    """What holds the worker back: domain.confinement.Protection as JSON."""


class Accepting(msgspec.Struct, frozen=True, tag="accepting"):
    pass


class LameDucked(msgspec.Struct, frozen=True, tag="lame_ducked"):
    """It takes no new connection any more."""

    connections: int
    """Still open, those just handed over not counted."""


class Drained(msgspec.Struct, frozen=True, tag="drained"):
    cut: int
    """Connections that were closed at the deadline."""


class Rested(msgspec.Struct, frozen=True, tag="rested"):
    """Drained, loaded and proven: a flip brings it back."""

    cut: int


class FramesOpen(msgspec.Struct, frozen=True, tag="frames_open"):
    path: str


class Routed(msgspec.Struct, frozen=True, tag="routed"):
    revision: int
    share: float


class Beaten(msgspec.Struct, frozen=True, tag="beaten"):
    number: int
    resident_bytes: int | None = None


class Replayed(msgspec.Struct, frozen=True, tag="replayed"):
    """How the golden requests went; ``findings`` are domain.finding.Finding as JSON."""

    findings: list[dict[str, Any]]


class Introduced(msgspec.Struct, frozen=True, tag="introduced"):
    """Who a worker is and how far it has come: the first that a supervisor hears which connects to an orphan."""

    version: int
    """CHANNEL_VERSION; of another one the supervisor understands this message alone."""
    started_ticks: int | None
    """When its process was started, as /proc/PID/stat says: a pid alone may be another's by now."""
    deployment: str
    worker: str
    revision: int
    state: str
    """A domain.worker_state.WorkerState."""
    has_listener: bool
    """Whether the listening socket travels with this line: a lame duck has closed it."""
    frames_path: str
    handover_path: str
    protections: list[dict[str, Any]] = []
    """As in Gated."""


class CannotServe(msgspec.Struct, frozen=True, tag="cannot_serve"):
    """The worker ends; ``reason`` is for the operator."""

    reason: str


ToWorker = Start | Guard | AcceptTraffic | LeaveTraffic | Rest | OpenFrames | Route | Beat | Replay
ToSupervisor = (
    Loaded
    | Gated
    | Accepting
    | LameDucked
    | Drained
    | Rested
    | FramesOpen
    | Routed
    | Beaten
    | Replayed
    | Introduced
    | CannotServe
)

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
