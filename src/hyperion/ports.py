"""The outside world on one page: what use cases and checks may ask of it.

A port exists only where reality differs between a test and a host. Adapters implement them
(src/hyperion/adapters), fakes in tests/fakes pass the same contract suites.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, TypeAlias

# Only types are spoken of here: the supervisor needs no numpy, and a worker's start is waited for.
if TYPE_CHECKING:
    from numpy.typing import NDArray

    from hyperion.domain.command import Command, Pong, Progress, Reply
    from hyperion.domain.deployment import Deployment, Revision
    from hyperion.domain.event import Event, EventDraft, EventKind, LedgerHead
    from hyperion.domain.finding import Report
    from hyperion.domain.manifest import EngineRequirement, GoldenRequest, ModelCard, SchemeName
    from hyperion.domain.platform import PlatformProfile
    from hyperion.domain.scheme import QuantizationRecord, QuantizeChoice, TargetPlatform
    from hyperion.domain.tensor import Signature, TensorSpec
    from hyperion.format.package import PackageReader
    from hyperion.format.weights import WeightTensor

Array: TypeAlias = "NDArray[Any]"
Tensors: TypeAlias = "Mapping[str, Array]"
"""Arrays by tensor name; text tensors have dtype object and hold str."""


class Clock(Protocol):
    def now(self) -> datetime:
        """The wall clock, UTC."""

    def monotonic(self) -> float:
        """Seconds that never go back; for deadlines and durations."""

    def sleep(self, seconds: float) -> None: ...


class Reporter(Protocol):
    """Where use cases tell their progress; the command line draws it, tests collect it."""

    def stage(
        self, title: str, total: int | None = None, unit: str = ""
    ) -> AbstractContextManager[Callable[[int], None]]:
        """A step of the work. Call the yielded function with the amount newly done (bytes where unit is "B")."""

    def info(self, message: str) -> None: ...

    def warn(self, message: str) -> None: ...


# --- files -----------------------------------------------------------------------------------------------------


class Files(Protocol):
    """The one way to write a file or folder that must be whole or absent."""

    def replacing(self, path: Path) -> AbstractContextManager[BinaryIO]:
        """Write ``path`` atomically: temporary in its folder → fsync → replace → fsync the folder.

        On any exception the temporary is removed and ``path`` is as it was.

        Raises:
            HostError: No space (names needed and free bytes), no permission, no such folder.
        """

    def staging(
        self, path: Path, *, replace: bool = False, keep_as: Path | None = None
    ) -> AbstractContextManager[Path]:
        """Fill a fresh sibling folder that becomes ``path`` in one step at the end.

        Where ``path`` exists, ``replace`` removes what it was, and ``keep_as`` (a free sibling) keeps it under
        that name: the two swap in one step, so that ``path`` always holds the one or the other.

        Raises:
            ConflictError: ``path`` exists and neither is given, or ``keep_as`` exists.
            HostError: As above.
        """


# --- model sources ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file of a model directory that goes into the package as it is.

    Attributes:
        entry: Its name in the package, such as ``assets/vocab.txt``.
        path: Where it lies.
        size_bytes: Its length.
    """

    entry: str
    path: Path
    size_bytes: int


@dataclass(frozen=True, slots=True)
class GoldenSource:
    """One golden request as found in a model directory.

    Attributes:
        name: File name without suffix.
        inputs: All inputs of the model by name.
        outputs: The expected outputs; empty where the directory gives none, then the model's own are recorded.
        request: How outputs are compared.
        explicit: Whether a person wrote the tolerances.
    """

    name: str
    inputs: Tensors
    outputs: Tensors
    request: GoldenRequest
    explicit: bool


@dataclass(frozen=True, slots=True)
class ModelSource:
    """What a model directory holds, before its graph is read.

    Attributes:
        path: The directory.
        model: Its ``model.onnx``.
        card: Its ``hyperion.json``, or the defaults.
        files: Configuration files and assets, sorted by entry.
        left_out: Names that are not taken in, each with its reason.
    """

    path: Path
    model: Path
    card: ModelCard
    files: tuple[SourceFile, ...]
    left_out: tuple[str, ...] = ()


class ModelSources(Protocol):
    """Reads model directories."""

    def read(self, path: Path) -> ModelSource:
        """Look over a model directory.

        Raises:
            NotFoundError: Nothing is there (code ``model_source.not_found``).
            ModelSourceError: It is no model directory, or holds what no package may hold.
            ConfigError: hyperion.json or a file under config/ is wrong; all problems at once.
        """

    def read_golden(self, source: ModelSource, signature: Signature) -> tuple[GoldenSource, ...]:
        """Its golden requests, checked against the signature; sorted by name.

        Raises:
            ModelSourceError: A request does not fit the model, or holds text tensors.
            ConfigError: The document beside it is wrong.
        """


@dataclass(frozen=True, slots=True)
class PreparedLayer:
    """The weights of one layer, ready to be written.

    Attributes:
        name: The scope or node that it was split by.
        tensors: In the order in which they are stored.
        schemes: One for each tensor.
    """

    name: str
    tensors: tuple[WeightTensor, ...]
    schemes: tuple[SchemeName, ...]


@dataclass(frozen=True, slots=True)
class PreparedModel:
    """A graph prepared, quantized and split.

    Attributes:
        architecture: The bytes of architecture.json.
        layers: Layer N is stored as ``weights/layerN.weights``.
        engine: What the graph asks of an engine.
        quantization: What was decided and measured.
        golden: The golden requests with the expected outputs and tolerances that suit the scheme.
        warnings: What a person should know.
    """

    architecture: bytes
    layers: tuple[PreparedLayer, ...]
    engine: EngineRequirement
    quantization: QuantizationRecord
    golden: tuple[GoldenSource, ...]
    warnings: tuple[str, ...] = ()


class ModelGraph(Protocol):
    """A model's graph, read and checked."""

    @property
    def signature(self) -> Signature:
        """Its inputs and outputs; labels where the graph itself names them."""

    def prepare(
        self,
        quantize: QuantizeChoice,
        signature: Signature,
        golden: Sequence[GoldenSource],
        platform: TargetPlatform | None,
        reporter: Reporter,
    ) -> PreparedModel:
        """Quantize as asked, measure the agreement with the float model, and split into layers.

        Raises:
            EngineError: The engine refuses the graph.
            ModelSourceError: The graph cannot be stored without loss.
        """


class ModelGraphs(Protocol):
    """Reads models."""

    def load(self, model: Path) -> ModelGraph:
        """Read a model and look at all its weights; external parts must lie inside the model's directory.

        Raises:
            ModelSourceError: It is no ONNX model, a Git LFS pointer, or a part is missing or outside.
            EngineError: The engine refuses the graph.
        """


# --- inference -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """How a session is made; nothing of it ever comes from a package."""

    threads: int = 1


class Session(Protocol):
    """One loaded model in the engine."""

    @property
    def inputs(self) -> tuple[TensorSpec, ...]: ...

    @property
    def outputs(self) -> tuple[TensorSpec, ...]: ...

    def run(self, feeds: Tensors) -> dict[str, Array]:
        """All outputs for these inputs.

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


# --- state -----------------------------------------------------------------------------------------------------


class PackageStore(Protocol):
    """Packages on this host, one read-only file per entry under its digest; written once, never changed."""

    def admit(self, package: PackageReader, progress: Callable[[int], None] | None = None) -> str:
        """Copy what is missing, verifying every digest while copying; returns the package's digest.

        Raises:
            DigestMismatchError: An entry is not what its manifest says; nothing of the package is admitted.
            HostError: No space, no permission.
        """

    def has(self, digest: str) -> bool: ...

    def open(self, digest: str) -> PackageReader:
        """Raises NotFoundError (code ``store.package_not_found``) where it was never admitted."""

    def export(self, digest: str, output: Path) -> None:
        """Write the package as one file, bit-identical to the file it came from; atomic, durable."""


class Ledger(Protocol):
    """The append-only, hash-chained sequence of events, and the pointers that it moves."""

    def append(self, draft: EventDraft) -> Event: ...

    def create_revision(self, revision: Revision) -> Event:
        """Store the revision (its number must be the next one), make it desired, append its event: one transaction."""

    def promote(self, deployment: str, revision: int, draft: EventDraft) -> Event:
        """Make the revision active, append the event: one transaction."""

    def restore_desired(self, deployment: str, revision: int | None, draft: EventDraft) -> Event:
        """After an abort: desired is again what is active, append the event: one transaction."""

    def stop(self, deployment: str, draft: EventDraft) -> Event:
        """Desired and active become None, append the event: one transaction."""

    def deployments(self) -> tuple[Deployment, ...]: ...

    def revision(self, deployment: str, number: int) -> Revision:
        """Raises NotFoundError (code ``revision.not_found``)."""

    def revisions(self, deployment: str) -> tuple[Revision, ...]:
        """Oldest first."""

    def events(
        self, deployment: str | None = None, kinds: Iterable[EventKind] | None = None, since: int = 0
    ) -> tuple[Event, ...]:
        """Oldest first, those after sequence ``since``."""

    def head(self) -> LedgerHead: ...

    def first_broken(self) -> int | None:
        """The sequence of the first event whose hash or predecessor is wrong; None where the chain is whole."""


class ReportStore(Protocol):
    """Reports are kept under their deployment."""

    def save(self, deployment: str, report: Report) -> Path: ...

    def recent(self, deployment: str, kind: str | None = None) -> tuple[Report, ...]:
        """Newest first."""


class ServingLog(Protocol):
    """The JSON lines that workers and the supervisor write for a deployment."""

    def read(self, deployment: str, cursor: str | None = None) -> tuple[tuple[dict[str, Any], ...], str]:
        """Lines after ``cursor`` (None: from the beginning), oldest first, and the cursor to go on from."""


class SupervisorControl(Protocol):
    """The running supervisor, from outside."""

    def ping(self) -> Pong | None:
        """None where none runs."""

    def ensure_running(self) -> Pong:
        """Start one, detached, where none runs.

        Raises:
            HostError: It did not come up; the message holds the end of its log.
        """

    def ask(self, command: Command, on_progress: Callable[[Progress], None] | None = None) -> Reply:
        """Send and wait for the final reply.

        Raises:
            HostError: No supervisor runs (code ``supervisor.not_running``), or it went away meanwhile.
            HyperionError: The supervisor refused; the very class and code that it named.
        """


# --- workers ---------------------------------------------------------------------------------------------------


class WorkerProcess(Protocol):
    """One started worker process, seen by its supervisor."""

    @property
    def pid(self) -> int: ...

    @property
    def control(self) -> socket.socket:
        """Our end of the socket pair; at its end of file the worker is gone."""

    @property
    def exit_fd(self) -> int:
        """Readable once the process has ended (a pidfd)."""

    def reap(self) -> int:
        """Its exit status, or minus the signal that killed it; only once ``exit_fd`` is readable."""

    def kill(self) -> None:
        """End it at once; nothing happens where it is gone."""


class WorkerLauncher(Protocol):
    """Starts worker processes."""

    def launch(self, deployment: str, revision: int, listener: socket.socket) -> WorkerProcess:
        """Start one; it inherits the listening socket and writes to the log of its revision.

        Raises:
            HostError: The process could not be started.
        """


# --- the host --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ProcessUsage:
    """What a process took so far; None where the kernel does not say."""

    cpu_s: float
    resident_bytes: int
    proportional_bytes: int | None
    read_bytes: int | None
    written_bytes: int | None


class HostFacts(Protocol):
    def platform(self) -> PlatformProfile:
        """This host, as a profile (without the engine's operators)."""

    def memory_available_bytes(self) -> int:
        """What new processes may take without swapping, by the kernel's estimate."""

    def process(self, pid: int) -> ProcessUsage | None:
        """None where the process is gone."""

    def page_cache_resident_ratio(self, paths: Sequence[Path]) -> float | None:
        """Share of these files' pages in the page cache (mincore); None where the kernel does not say."""

    def hardware_counters(self, pids: Sequence[int], duration_s: float) -> tuple[dict[str, int | None], str | None]:
        """Cycles, instructions, cache_references, cache_misses of these processes over ``duration_s``.

        Where they cannot be read all values are None and the second item says why.
        """

    def disk_usage(self, path: Path) -> int:
        """Bytes on disk of a file or tree."""

    def user(self) -> str:
        """Name of the operating-system user."""

    def port_is_free(self, host: str, port: int) -> bool: ...


@dataclass(frozen=True, slots=True)
class Answer:
    """One answered inference request."""

    outputs: dict[str, Array]
    model: str
    version: str
    revision: int
    latency_ms: float


class InferenceClient(Protocol):
    """A client of a served deployment (Open Inference Protocol v2)."""

    def is_ready(self, url: str, model: str, timeout_s: float) -> bool: ...

    def infer(self, url: str, model: str, feeds: Tensors, timeout_s: float) -> Answer:
        """Send one request.

        Raises:
            EngineError: With the cause as its code: ``inference.failed``, ``inference.timeout``,
                ``inference.refused``.
        """


@dataclass(frozen=True, slots=True)
class Batch:
    """Consecutive rows of a dataset.

    Attributes:
        feeds: The model's inputs; padded by repeating the last row where the model's batch size is fixed.
        rows: How many of the rows are real.
        labels: What is right for each real row: int64 or text (dtype object, str), or None without labels.
        source: File that the rows come from.
        first_row: Number of the first row in that file, from 0.
    """

    feeds: Tensors
    rows: int
    labels: Array | None
    source: str
    first_row: int


class Dataset(Protocol):
    """A dataset folder, read in slices."""

    @property
    def rows(self) -> int: ...

    @property
    def has_labels(self) -> bool: ...

    def batches(self, size: int) -> Iterator[Batch]:
        """All rows in order, at most ``size`` in each batch; a batch does not span files.

        Raises:
            ConfigError: A value is not what the model takes; names file, column, row (code ``dataset.invalid``).
        """


class Datasets(Protocol):
    def open(self, folder: Path, signature: Signature) -> Dataset:
        """Look at a folder of ``*.npz`` (arrays named like the inputs, and ``label``) or ``*.csv`` files.

        Raises:
            NotFoundError: There is no such folder (code ``dataset.not_found``).
            ConfigError: It holds no data, or data that the model does not take; names every faulty file.
        """


class PackageOpener(Protocol):
    """Finds which form a path is and opens it."""

    def open(self, path: Path) -> PackageReader:
        """Open a package file, an extracted directory, or a backup folder (``backup/NAME``).

        Raises:
            NotFoundError: Nothing is there (code ``package.not_found``).
            PackageError: It is no package, or a broken one.
        """


@dataclass(frozen=True, slots=True)
class Host:
    """Everything a use case may need, wired by bootstrap; tests build it from fakes."""

    clock: Clock
    files: Files
    sources: ModelSources
    graphs: ModelGraphs
    engine: Engine
    sandbox: Sandbox
    packages: PackageOpener
    store: PackageStore
    ledger: Ledger
    reports: ReportStore
    log: ServingLog
    control: SupervisorControl
    facts: HostFacts
    inference: InferenceClient
    datasets: Datasets
    state_dir: Path
