"""The documents that people write: deployment.json, verification.json, memory_config.json."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Annotated, Literal

from pydantic import Field

from hyperion.domain.document import DeploymentName, Document, WrittenDocument
from hyperion.domain.image import ImageMode
from hyperion.domain.tuning import BatchingMode, Threads, Tuning

PositiveSeconds = Annotated[float, Field(gt=0, le=86_400)]


class Serve(Document):
    """Where the deployment listens."""

    host: str = "127.0.0.1"
    """Address to bind. Anything but loopback needs ``insecure``, since there are no keys yet."""
    port: Annotated[int, Field(ge=0, le=65_535)] = 8080
    """TCP port; 0 takes a free one."""
    insecure: bool = False
    """Allow a host beyond loopback without authentication (also ``deploy model --insecure``)."""

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach ``host``; a name other than localhost could resolve to anything."""
        if self.host == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False


class Limits(Document):
    """What a worker accepts before it says no."""

    max_body_bytes: Annotated[int, Field(ge=1)] = 16 * 1024 * 1024
    """Largest body of a request; past it the answer is 413."""
    max_header_bytes: Annotated[int, Field(ge=256)] = 32 * 1024
    """Largest header of a request; past it the answer is 431."""
    header_timeout_s: PositiveSeconds = 10.0
    """From the first byte of a request, or a new connection, to the end of its header and body."""
    request_timeout_s: PositiveSeconds = 30.0
    """From a complete request to its answer; past it the answer is 503."""
    max_inflight: Annotated[int, Field(ge=1)] = 128
    """Requests in flight per worker; past it the answer is 503 with Retry-After."""


class MemoryBudget(Document):
    budget_mb: Annotated[int, Field(ge=1)] | None = None
    """Resident memory that one worker may have after warm-up, in MiB; None for no budget."""


class Batching(Document):
    """Whether a worker answers requests together that wait for the engine at the same time."""

    mode: BatchingMode = "auto"
    """``auto``: where this host measured at deploy that it pays and gives the same answers; ``on``: wherever it gives
    the same answers; ``off``: never."""
    max_batch: Annotated[int, Field(ge=1, le=4096)] = 32
    """Most rows of one run."""
    max_wait_ms: Annotated[float, Field(ge=0, le=1000)] = 1.0
    """How long a busy worker may wait for more requests; an idle one never waits."""


class DeploymentConfig(WrittenDocument):
    """deployment.json: how a package is served. Every key has a default that serves."""

    name: DeploymentName | None = None
    """The deployment's name, and the model's name in v2 URLs; the package's name by default."""
    serve: Serve = Serve()
    workers: Annotated[int, Field(ge=1, le=64)] = 1
    """Processes that serve the active revision."""
    threads: Threads = 1
    """Intra-op threads of each worker's engine session; ``"auto"`` takes what this host measured at deploy as best."""
    image: ImageMode = "auto"
    """Whether workers load a host image of the package, made on this host, whose pages they share: ``auto`` where the
    workers would copy 64 MiB of weights or more."""
    batching: Batching = Batching()
    strategy: Literal["blue-green"] = "blue-green"
    """How a rollout moves traffic."""
    limits: Limits = Limits()
    memory: MemoryBudget = MemoryBudget()
    startup_timeout_s: PositiveSeconds = 60.0
    """From the start of a worker until it is loaded, warm and proven."""
    drain_timeout_s: PositiveSeconds = 30.0
    """How long a replaced worker may finish what is in flight."""
    environment: str | None = None
    """Where this is: staging, production, …"""
    owner: str | None = None
    """Who answers for this deployment."""
    team: str | None = None
    """Who carries it out."""
    window: str | None = None
    """The agreed deployment window, in words."""
    notes: str | None = None
    """The steps of this deployment, in words or as a link."""
    runbook: str | None = None
    """Where the person on call finds what to do."""

    def threads_for(self, tuning: Tuning | None, cores: int) -> int:
        """Threads of each worker's session on a machine of ``cores`` cores, by what was measured there."""
        if self.threads != "auto":
            return self.threads
        return 1 if tuning is None else tuning.threads_for(self.workers, cores)

    @property
    def fixed_threads(self) -> int:
        """Threads before anything was measured."""
        return 1 if self.threads == "auto" else self.threads


class VerificationConfig(WrittenDocument):
    """verification.json: what a deployment must show to be called healthy."""

    latency_p95_ms: Annotated[float, Field(gt=0)] = 1000.0
    error_ratio: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of requests that may fail."""
    samples: Annotated[int, Field(ge=1, le=100_000)] = 20
    timeout_s: PositiveSeconds = 5.0
    """For each request."""


class MemoryConfig(WrittenDocument):
    """memory_config.json: what a model may take."""

    budget_mb: Annotated[int, Field(ge=1)] = 1024
    """Peak resident memory of a process that loads and runs the model, in MiB."""
    batch_size: Annotated[int, Field(ge=1, le=65_536)] = 1
    runs: Annotated[int, Field(ge=1, le=100_000)] = 20
    threads: Annotated[int, Field(ge=1, le=256)] = 1
    timeout_s: PositiveSeconds = 300.0
