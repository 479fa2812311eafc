"""The engine, here and in a sandboxed child."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

# Only types are spoken of here: the supervisor needs no numpy, and a worker's start is waited for.
if TYPE_CHECKING:
    from hyperion.domain.tensor import TensorSpec
    from hyperion.format.package import PackageReader
    from hyperion.ports.tensors import Array, Tensors


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """How a session is made; nothing of it ever comes from a package."""

    threads: int = 1
    prepacking: bool = True
    """Whether the engine may copy the weights into a form that its kernels like better. Without, a float model loads
    in place at once and runs somewhat slower; 4-bit kernels need it."""
    interruptible: bool = False
    """Whether Ctrl-C ends a run; it costs each run a thread, so it is for commands that people wait for."""


class Session(Protocol):
    """One loaded model in the engine."""

    @property
    def inputs(self) -> tuple[TensorSpec, ...]: ...

    @property
    def outputs(self) -> tuple[TensorSpec, ...]: ...

    def run(self, feeds: Tensors) -> dict[str, Array]:
        """All outputs for these inputs; optional ones may be left out.

        Raises:
            EngineError: The engine refused the inputs or failed.
        """


class Engine(Protocol):
    """The inference engine."""

    def version(self) -> str: ...

    def load(self, package: PackageReader, options: SessionOptions = SessionOptions()) -> Session:
        """Load a package in place: weights are mapped from where they lie, not copied out.

        Raises:
            MalformedPackageError: architecture.json or a weights entry breaks the format.
            EngineError: The engine rejects the graph.
        """

    def operators(self) -> frozenset[str]:
        """``domain::Operator`` of every operator that the engine registers on CPU."""

    def opsets(self) -> dict[str, int]:
        """The newest operator set by domain that the engine runs."""


@dataclass(frozen=True, slots=True)
class SandboxLimits:
    """What a child may take.

    Attributes:
        timeout_s: Wall-clock time until it is killed.
        address_space_bytes: RLIMIT_AS, or None.
    """

    timeout_s: float = 120.0
    address_space_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class InferenceJob:
    """Load a package in a child and run requests there.

    Attributes:
        package: Path of a package file or directory.
        requests: Inputs of each request, in order; empty to load only. Iterated once, one at a time.
        repeats: How often each request runs (its outputs are kept once).
        warmup: Runs of the first request that are not measured.
        threads: Intra-op threads.
        keep_outputs: Whether outputs are returned.
        kept: Names of the outputs to return, None for all; for large runs.
        unload: Whether to drop the session at the end and measure memory again.
    """

    package: Path
    requests: Iterable[Tensors] = ()
    repeats: int = 1
    warmup: int = 0
    threads: int = 1
    keep_outputs: bool = True
    kept: frozenset[str] | None = None
    unload: bool = False


@dataclass(frozen=True, slots=True)
class MemoryFigures:
    """Resident bytes of the child at its stages; peak is the kernel's high-water mark."""

    before_load: int
    after_load: int
    steady: int
    peak: int
    after_unload: int | None


@dataclass(frozen=True, slots=True)
class InferenceResult:
    """What the child reports.

    Attributes:
        outputs: One mapping per request; None for a request that the engine refused.
        errors: One text per request; None where it ran.
        latencies_ms: Every measured run, in order.
        load_ms: Time to load.
        cpu_s: User and system time of the measured runs.
        wall_s: Wall time of the measured runs.
        read_bytes: Bytes read from storage by the child, None where the kernel does not say.
        major_faults: Page faults that needed storage.
    """

    outputs: tuple[dict[str, Array] | None, ...]
    errors: tuple[str | None, ...]
    latencies_ms: tuple[float, ...]
    load_ms: float
    cpu_s: float
    wall_s: float
    memory: MemoryFigures
    read_bytes: int | None = None
    major_faults: int | None = None
    counters: Mapping[str, int | None] = field(default_factory=dict)
    """Hardware counters over the measured runs (cycles, instructions, cache_references, cache_misses) or None."""
    counters_unavailable: str | None = None
    """Why counters are None."""


class Sandbox(Protocol):
    """Runs untrusted models in a child process with limits."""

    def run(self, job: InferenceJob, limits: SandboxLimits = SandboxLimits()) -> InferenceResult:
        """Do the job in a child.

        Raises:
            EngineError: The model does not load (code ``engine.load_failed``), the child crashed
                (``engine.crashed``, names the signal) or ran out of time (``engine.timeout``).
            PackageError: The package breaks the format.
        """
