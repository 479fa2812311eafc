"""What the command line asks of the supervisor, and what it answers: one JSON object a line, a closed set."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from hyperion.domain.config import DeploymentConfig
from hyperion.domain.confinement import Protection
from hyperion.domain.deployment import Deployment, Origin, Revision
from hyperion.domain.document import Document, JsonValue
from hyperion.domain.event import Event, EventDraft
from hyperion.domain.finding import Finding, Report
from hyperion.domain.metrics import ServingFigures, WorkerFigures
from hyperion.domain.serving_state import RolloutState

PROTOCOL_VERSION = 1


class Ping(Document):
    kind: Literal["ping"] = "ping"


class Until(StrEnum):
    """What the client that asks for a rollout waits for."""

    STARTED = "started"
    """The revision is recorded and its rollout goes on by itself."""
    SHIFTED = "shifted"
    """All traffic is the new revision's."""
    FINISHED = "finished"
    """It was watched, too, and stayed or went back."""


class Deploy(Document):
    """Admit the package, make a revision, and roll it out; progress follows line by line."""

    kind: Literal["deploy"] = "deploy"
    package_path: str | None
    """Absolute path of the package file or directory; the supervisor copies it into the store. None: it is there."""
    expected_digest: str
    """What the checks were made on; another digest is refused."""
    config: DeploymentConfig
    origin: Origin = Origin.DEPLOY
    reason: str | None = None
    override: str | None = None
    """Why what the checklist would deny was let pass; kept with the revision."""
    actor: str
    checklist: Report | None = None
    """Kept with the revision."""
    until: Until = Until.SHIFTED


class Stop(Document):
    """Drain and stop one deployment, or all."""

    kind: Literal["stop"] = "stop"
    name: str | None
    actor: str


class Status(Document):
    kind: Literal["status"] = "status"


class Stats(Document):
    """The figures of one deployment."""

    kind: Literal["stats"] = "stats"
    name: str


class Record(Document):
    """Append an event for a command-line use case (note, backup)."""

    kind: Literal["record"] = "record"
    draft: EventDraft


Command = Annotated[Ping | Deploy | Stop | Status | Stats | Record, Field(discriminator="kind")]


class Request(Document):
    """What a client sends."""

    protocol: int
    command: Command


class Progress(Document):
    """A step of a running command."""

    kind: Literal["progress"] = "progress"
    stage: str
    """``admit``, ``spawn``, ``prove``, ``canary``, ``shift``, ``drain``, ``promote``, ``watch``, ``abort`` or
    ``return``."""
    message: str


class Pong(Document):
    kind: Literal["pong"] = "pong"
    protocol: int = PROTOCOL_VERSION
    pid: int
    version: str
    opened: tuple[str, ...] = ()
    """Places where a service manager listens for it: ``127.0.0.1:8080``, or the path of a unix socket."""


class Deployed(Document):
    """A rollout came as far as its client waits."""

    kind: Literal["deployed"] = "deployed"
    revision: Revision
    promoted: bool
    """Whether the revision takes the traffic."""
    state: RolloutState
    url: str | None
    """Where the deployment answers, ``http://host:port``."""
    proof: tuple[Finding, ...] = ()
    """What the candidate's workers showed before they took traffic."""
    reason: str | None = None
    """Why it was aborted or gone back from."""
    duration_ms: int = 0
    """From the start of the first worker until then."""


class Stopped(Document):
    kind: Literal["stopped"] = "stopped"
    names: tuple[str, ...]
    supervisor_ends: bool


class RolloutStatus(Document):
    """The latest rollout, as it is now."""

    revision: int
    state: RolloutState
    share: float | None = None
    """Of the requests, that a canary gets now, 0–1; None where none runs."""
    gates: str | None = None
    """What the gates say at the moment; None where nothing is judged."""
    reason: str | None = None
    """Why it was aborted or gone back from."""


class WarmRevision(Document):
    """A replaced revision that stays loaded, so that going back to it is a flip."""

    revision: Revision
    until: datetime
    resident_bytes: int | None
    """Memory of its workers; None where the host does not say."""


class DeploymentStatus(Document):
    """One deployment, as it is now. Serving and updating are two separate facts."""

    deployment: Deployment
    active: Revision | None
    serving: bool
    updating: bool
    url: str | None
    workers: tuple[WorkerFigures, ...]
    trouble: str | None = None
    """Why it does not serve, in words."""
    rollout: RolloutStatus | None = None
    """None where there was none since the supervisor started."""
    warm: WarmRevision | None = None
    notes: tuple[str, ...] = ()
    """What its workers do otherwise than they should, though they serve, such as loading without a host image."""
    protections: tuple[Protection, ...] = ()
    """What holds the active revision's workers back, and what does not though it should."""


class StatusReply(Document):
    kind: Literal["status_reply"] = "status_reply"
    pid: int
    deployments: tuple[DeploymentStatus, ...]


class StatsReply(Document):
    kind: Literal["stats_reply"] = "stats_reply"
    figures: ServingFigures


class Recorded(Document):
    kind: Literal["recorded"] = "recorded"
    event: Event


class Refused(Document):
    """The command failed; ``details`` is HyperionError.details()."""

    kind: Literal["refused"] = "refused"
    error: str
    """Name of the error class in hyperion.errors."""
    details: dict[str, JsonValue]


Reply = Annotated[
    Progress | Pong | Deployed | Stopped | StatusReply | StatsReply | Recorded | Refused, Field(discriminator="kind")
]


def line_of(document: Document) -> bytes:
    """The document as one line of JSON, as it goes over the control socket."""
    return document.model_dump_json(by_alias=True).encode() + b"\n"


def parse_command(line: bytes) -> Command:
    """Read one command; raises pydantic.ValidationError where it is none."""
    command: Command = _adapter(Command).validate_json(line)
    return command


def parse_request(line: bytes) -> Request:
    """Read one request; raises as ``parse_command``."""
    return Request.model_validate_json(line)


def parse_reply(line: bytes) -> Reply:
    """Read one reply; raises pydantic.ValidationError where it is none."""
    reply: Reply = _adapter(Reply).validate_json(line)
    return reply


@cache
def _adapter(union: Any) -> TypeAdapter[Any]:
    return TypeAdapter(union)
