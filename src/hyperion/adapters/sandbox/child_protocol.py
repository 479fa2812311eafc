"""What a sandbox and its child exchange through their private folder: two documents and some tensor files."""

from __future__ import annotations

from hyperion.domain.confinement import Confinement
from hyperion.domain.document import Document, JsonValue
from hyperion.domain.tuning import Curve

JOB = "job.json"
REPORT = "report.json"
STAGE = "stage"
"""Holds what the child is doing, in words, so that a crash can be told apart."""
IMAGE = "image"
"""The folder in which a host image is made."""
STARTING, LOADING = "started", "loaded the model"


def request_file(index: int) -> str:
    """Name of the file that holds the inputs of request ``index``."""
    return f"request-{index}.tensors"


def answer_file(index: int) -> str:
    """Name of the file that holds the outputs of request ``index``; absent where the engine refused it."""
    return f"answer-{index}.tensors"


class JobDocument(Document):
    """ports.InferenceJob and ports.SandboxLimits without the tensors."""

    parent: int
    """Process id of the sandbox."""
    package: str
    """Its absolute path, percent-encoded: it may hold bytes that are not UTF-8."""
    requests: int
    repeats: int
    warmup: int
    threads: int
    keep_outputs: bool
    kept: tuple[str, ...] | None
    unload: bool
    source: bool = False
    image: bool = False
    """Whether to make a host image and nothing else."""
    curve: bool = False
    """Whether to measure how batches pay."""
    trial_threads: tuple[int, ...] = ()
    file_size_bytes: int | None = None
    address_space_bytes: int | None
    cpu_s: int


class ReportDocument(Document):
    """ports.InferenceResult without the tensors, or the error that ended the work."""

    error: str | None = None
    """Class name in hyperion.errors."""
    details: dict[str, JsonValue] = {}
    errors: tuple[str | None, ...] = ()
    latencies_ms: tuple[float, ...] = ()
    load_ms: float = 0.0
    cpu_s: float = 0.0
    wall_s: float = 0.0
    before_load: int = 0
    after_load: int = 0
    steady: int = 0
    peak: int = 0
    after_unload: int | None = None
    read_bytes: int | None = None
    major_faults: int | None = None
    counters: dict[str, int | None] = {}
    counters_unavailable: str | None = None
    confinement: Confinement | None = None
    curve: Curve | None = None
