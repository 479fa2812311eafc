"""The engine, here and in a sandboxed child."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

# Only types are spoken of here: the supervisor needs no numpy, and a worker's start is waited for.
if TYPE_CHECKING:
    from hyperion.domain.confinement import Confinement
    from hyperion.domain.tensor import TensorSpec
    from hyperion.domain.tuning import Curve
    from hyperion.format.package import PackageReader
    from hyperion.ports.tensors import Array, Tensors


PREPACKED_BYTES = 192 * 1024**2
"""Of weights that are worth copying for a few runs; a larger model is proven and measured where its weights lie."""


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """How a session is made; nothing of it ever comes from a package."""

    threads: int = 1
    prepacking: bool = True
    """Whether the engine may copy the weights into a form that its kernels like better. Without, a float model loads
    in place at once and runs somewhat slower; 4-bit kernels need it."""
    interruptible: bool = False
    """Whether Ctrl-C ends a run; it costs each run a thread, so it is for commands that people wait for."""
    run_timeout_s: float | None = None
    """How long a run may take until it is ended (``engine.timeout``). Where the engine does not let itself be ended,
    the process ends: this is for workers, which their supervisor starts again."""


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

    def build_image(self, package: PackageReader, folder: Path, options: SessionOptions = SessionOptions()) -> Session:
        """Load a package as ``load`` does, raises as it does, and leaves its host image in the empty ``folder``."""

    def load_image(self, package: PackageReader, folder: Path, options: SessionOptions = SessionOptions()) -> Session:
        """Load a package from the host image in ``folder``, whose files were checked by digest: no weight is copied.

        Raises:
            MalformedPackageError: The manifest promises other inputs or outputs than the image has.
            EngineError: The engine rejects it.
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
        file_size_bytes: RLIMIT_FSIZE, the largest file that it may write, or None.
    """

    timeout_s: float = 120.0
    address_space_bytes: int | None = None
    file_size_bytes: int | None = None


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
    image: Path | None = None
    """Where to put a host image of the package: a folder that is not there yet, and appears once the image answers all
    requests bit for bit as the package does. Then nothing is measured."""
    curve: bool = False
    """Whether to measure, after the requests, how batches of the first one pay: a fraction of a second."""
    source: bool = False
    """Whether ``package`` is no package but a ``model.onnx`` as somebody wrote it, with its parts beside it."""
    trial_threads: tuple[int, ...] = ()
    """With ``curve``: other numbers of threads to try, each in a session of its own."""


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
    confinement: Confinement | None = None
    """What held the child back while it loaded and ran the model."""
    curve: Curve | None = None
    """How threads and batches pay, where that was asked for and the first request ran."""


class Sandbox(Protocol):
    """Runs untrusted models in a child process with limits."""

    def run(self, job: InferenceJob, limits: SandboxLimits = SandboxLimits()) -> InferenceResult:
        """Do the job in a child.

        Raises:
            EngineError: The model does not load (code ``engine.load_failed``), the child crashed
                (``engine.crashed``, names the signal) or ran out of time (``engine.timeout``).
            PackageError: The package breaks the format.
        """
