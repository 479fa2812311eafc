"""The documents that people write: deployment.json, verification.json, memory_config.json."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Annotated, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from hyperion.domain.document import DeploymentName, Document, WrittenDocument
from hyperion.domain.image import ImageMode
from hyperion.domain.rollout_policy import DEFAULT_KEEP_WARM_S, Canary, Gates, Strategy
from hyperion.domain.tuning import BatchingMode, Threads, Tuning
from hyperion.domain.window import TimeWindow

PositiveSeconds = Annotated[float, Field(gt=0, le=86_400)]
DEFAULT_DRAIN_S = 45.0
"""Above the longest request of the default limits."""


def _form_of(window: object) -> str:
    """Which of the forms was meant, so that only its faults are told."""
    if isinstance(window, str):
        return "words"
    return "list" if isinstance(window, list | tuple) else "times"


Window = Annotated[
    Annotated[str, Tag("words")]
    | Annotated[TimeWindow, Tag("times")]
    | Annotated[tuple[TimeWindow, ...], Field(min_length=1, max_length=20), Tag("list")],
    Discriminator(_form_of),
]


class TlsFiles(Document):
    """What the deployment shows its clients; read by the supervisor, and again whenever a file changes."""

    certificate: Annotated[str, Field(pattern=r"^/")]
    """PEM file: the certificate, then those between it and the authority; an absolute path."""
    key: Annotated[str, Field(pattern=r"^/")]
    """PEM file of its private key, not encrypted, which only the supervisor's user should read; an absolute path."""
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9.-]{1,253}$")] | None = None
    """The host name that it is for, which then stands in the deployment's URL; by default the address does."""


DEFAULT_HOST, DEFAULT_PORT = "127.0.0.1", 8080
MAX_SOCKET_PATH_BYTES = 107
"""``sun_path`` holds 108 with the NUL at its end (man 7 unix)."""


def host_and_port(host: str, port: int) -> str:
    """``127.0.0.1:8080``, and of version 6 ``[::1]:8080``."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Serve(Document):
    """Where the deployment listens, and to whom."""

    host: str = DEFAULT_HOST
    """Address to bind. Anything but loopback needs ``require_key`` and ``tls``, or ``insecure``."""
    port: Annotated[int, Field(ge=0, le=65_535)] = DEFAULT_PORT
    """TCP port; 0 takes a free one."""
    socket: Annotated[str, Field(pattern=r"^/[^\x00-\x1f]*[^/\x00-\x1f]$")] | None = None
    """Absolute path of a unix socket in place of host and port; one that nobody listens on any more is replaced."""
    socket_mode: Literal["0600", "0660"] = "0600"
    """Who may connect to ``socket``: its owner, or also the owner's group."""
    require_key: bool = False
    """Whether a request needs an API key (``hyperion key add``)."""
    tls: TlsFiles | None = None
    """Certificate and key, to serve over TLS; None for plain HTTP."""
    insecure: bool = False
    """Allow a host beyond loopback without authentication (also ``deploy model --insecure``)."""

    @property
    def address(self) -> tuple[str, int] | str:
        """Where it listens: host and port, or the path of a unix socket."""
        return (self.host, self.port) if self.socket is None else self.socket

    @property
    def place(self) -> str:
        """The same in words."""
        return f"{self.host}, port {self.port or 'a free one'}" if self.socket is None else f"the socket {self.socket}"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it; a name other than localhost could resolve to anything."""
        if self.socket is not None or self.host == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if self.socket is None:
            if self.socket_mode != "0600":
                raise ValueError("socket_mode: there is no socket; expected 'socket', or no such key")
            return self
        if (self.host, self.port) != (DEFAULT_HOST, DEFAULT_PORT):
            raise ValueError("socket: it is in place of 'host' and 'port'; expected either, found both")
        if self.tls is not None:
            raise ValueError("tls: what goes through a unix socket leaves no host; expected 'socket' or 'tls'")
        if len(self.socket.encode()) > MAX_SOCKET_PATH_BYTES:
            raise ValueError(f"socket: the kernel takes paths of at most {MAX_SOCKET_PATH_BYTES} bytes; it is longer")
        return self


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
    max_connections: Annotated[int, Field(ge=1, le=1_000_000)] = 800
    """Connections per worker; past it a new one gets 503 with Retry-After. Each takes a descriptor of the process."""
    max_new_connections_per_s: Annotated[float, Field(gt=0, le=1_000_000)] | None = None
    """New connections a second per worker, with one second's worth at once; past it 429. None for no limit."""
    write_timeout_s: PositiveSeconds = 60.0
    """How long a client may leave an answer unread; then its connection is cut."""


class MemoryBudget(Document):
    budget_mb: Annotated[int, Field(ge=1)] | None = None
    """Resident memory that one worker may have after warm-up, in MiB; None for no budget."""
    limit_mb: Annotated[int, Field(ge=16)] | None = None
    """Memory past which the kernel kills a worker, in MiB, where a cgroup was delegated to the supervisor; else
    ``status`` says that it is not in force. None for no limit."""
    address_space_mb: Annotated[int, Field(ge=256)] | None = None
    """Address space past which a worker is given no more (RLIMIT_AS), in MiB, so that an oversized request fails and
    not the worker; by default three times what the worker had mapped when it was proven, and 2 GiB beyond that at
    least."""


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
    strategy: Strategy = "blue-green"
    """How a rollout moves traffic: all at once between two loaded revisions; a growing share first (``canary``); or,
    on a host that cannot hold two, the old one stops before the new one starts (``recreate``: until that answers, which
    takes a start, requests wait in the listening socket's queue, and fail where their clients wait for less)."""
    canary: Canary | None = None
    """The steps of the strategy ``canary``; refused with any other."""
    gates: Gates = Gates()
    keep_warm_s: Annotated[float, Field(ge=0, le=604_800)] | None = None
    """How long the replaced revision stays loaded, so that rolling back is a flip; its memory stays taken. By default
    600 s, and 0 with ``recreate``, which refuses any other."""
    warm_spare: bool = False
    """Keep one more worker loaded that takes the place of one that dies; refused with ``recreate``."""
    limits: Limits = Limits()
    memory: MemoryBudget = MemoryBudget()
    startup_timeout_s: PositiveSeconds = 60.0
    """From the start of a worker until it is loaded, warm and proven."""
    drain_timeout_s: PositiveSeconds = DEFAULT_DRAIN_S
    """How long a replaced worker may finish what is in flight. Below ``limits.header_timeout_s`` and
    ``request_timeout_s`` together, a rollout may cut a request: ``deploy`` warns of that."""
    environment: str | None = None
    """Where this is: staging, production, …"""
    owner: str | None = None
    """Who answers for this deployment."""
    team: str | None = None
    """Who carries it out."""
    window: Window | None = None
    """When it may be deployed: days, from, to and zone, or a list of those, is enforced; words are only shown."""
    notes: str | None = None
    """The steps of this deployment, in words or as a link."""
    runbook: str | None = None
    """Where the person on call finds what to do."""

    @property
    def warm_s(self) -> float:
        """How long the revision that this one replaces stays loaded, in seconds."""
        if self.keep_warm_s is not None:
            return self.keep_warm_s
        return 0.0 if self.strategy == "recreate" else DEFAULT_KEEP_WARM_S

    @property
    def canary_steps(self) -> Canary:
        """The canary's steps, the default ones where none are given."""
        return self.canary or Canary()

    @property
    def windows(self) -> tuple[TimeWindow, ...]:
        """The times at which it may be deployed, as far as they can be enforced; empty where there are none."""
        if self.window is None or isinstance(self.window, str):
            return ()
        return (self.window,) if isinstance(self.window, TimeWindow) else self.window

    @model_validator(mode="after")
    def _honoured(self) -> Self:
        """Refuse what the strategy cannot honour: a field that is ignored would be believed."""
        if self.strategy != "canary":
            if self.canary is not None:
                raise ValueError(f"canary: the strategy {self.strategy!r} has no steps; expected the strategy 'canary'")
            if self.gates.deadline_s != Gates().deadline_s:
                raise ValueError(f"gates.deadline_s: the strategy {self.strategy!r} has no steps; expected no such key")
            if not self.gates.watch_s and (idle := self.gates.idle_without_bake):
                raise ValueError(f"{', '.join(idle)}: with 'watch_s' 0 nothing bakes; expected no such key")
        if self.strategy == "recreate":
            if self.keep_warm_s:
                raise ValueError("keep_warm_s: 'recreate' stops the old revision first; expected 0 or no such key")
            if self.warm_spare:
                raise ValueError("warm_spare: 'recreate' is for hosts without room for two; expected false")
        return self

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
