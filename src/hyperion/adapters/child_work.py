"""The child's side of the sandbox: load one package, run the requests, measure, write the report last."""

from __future__ import annotations

import ctypes
import gc
import os
import resource
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote_to_bytes

from hyperion.adapters.child_protocol import (
    JOB,
    LOADING,
    REPORT,
    STAGE,
    JobDocument,
    ReportDocument,
    answer_file,
    request_file,
)
from hyperion.adapters.document_bytes import document_bytes
from hyperion.adapters.hardware_counters import HardwareCounters
from hyperion.adapters.process_usage import peak_resident_bytes, resident_bytes, storage_read_bytes
from hyperion.adapters.tensor_file import load_tensors, save_tensors
from hyperion.domain.document import JsonValue
from hyperion.errors import EngineError, HyperionError
from hyperion.ports import Array, Engine, PackageOpener, Session, SessionOptions, Tensors

_PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when its parent ends, so that a killed command leaves no child behind."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        raise SystemExit("the parent ended before this child began")


def load_job(folder: Path) -> JobDocument:
    """The job that the sandbox wrote into ``folder``."""
    return JobDocument.model_validate_json((folder / JOB).read_bytes())


def perform(folder: Path, job: JobDocument, engine: Engine, packages: PackageOpener) -> None:
    """Do ``job`` and write the report into ``folder``, in one step, as the last thing."""
    try:
        report = _Work(folder, job, engine, packages).do()
    except HyperionError as error:
        report = ReportDocument(error=type(error).__name__, details=_plain(error))
    except MemoryError:
        report = ReportDocument(
            error="EngineError",
            details={"code": "engine.out_of_memory", "message": f"{_path(job)} needs more memory than it may have"},
        )
    temporary = folder / f"{REPORT}.tmp"
    temporary.write_bytes(document_bytes(report))
    temporary.replace(folder / REPORT)


def apply_limits(job: JobDocument) -> None:
    """Limit this process before it touches the package; hard limits, so that nothing can raise them again."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (job.cpu_s, job.cpu_s + 1))
    if job.address_space_bytes is not None:
        resource.setrlimit(resource.RLIMIT_AS, (job.address_space_bytes, job.address_space_bytes))


@dataclass
class _Work:
    folder: Path
    job: JobDocument
    engine: Engine
    packages: PackageOpener
    errors: list[str | None] = field(default_factory=list)
    latencies_ms: list[float] = field(default_factory=list)
    cpu_s: float = 0.0
    wall_s: float = 0.0

    def do(self) -> ReportDocument:
        """Load, warm up, run, unload.

        Raises:
            EngineError: The model does not load (code ``engine.load_failed``).
            PackageError: The package breaks the format.
        """
        gc.collect()
        self._say(LOADING)
        before, read_before, faults_before = resident_bytes(), storage_read_bytes(), _major_faults()
        started = time.perf_counter()
        with self.packages.open(_path(self.job)) as package:
            try:
                session = self.engine.load(package, SessionOptions(threads=self.job.threads))
            except EngineError as error:
                raise EngineError(
                    error.message, hint=error.hint, code="engine.load_failed", entry=error.entry
                ) from error
            load_ms = 1000 * (time.perf_counter() - started)
            after_load = resident_bytes()
            counters = HardwareCounters()
            self._warm_up(session)
            for index in range(self.job.requests):
                self._run(session, index, counters)
            counts = counters.read()
            counters.close()
            steady = resident_bytes()
            del session
        read_after = storage_read_bytes()
        return ReportDocument(
            errors=tuple(self.errors), latencies_ms=tuple(self.latencies_ms), load_ms=load_ms, cpu_s=self.cpu_s,
            wall_s=self.wall_s, before_load=before, after_load=after_load, steady=steady,
            peak=max(peak_resident_bytes(), steady, after_load),  # the kernel updates its mark a little late
            after_unload=_resident_after_unload() if self.job.unload else None,
            read_bytes=None if read_before is None or read_after is None else read_after - read_before,
            major_faults=_major_faults() - faults_before, counters=counts, counters_unavailable=counters.unavailable,
        )  # fmt: skip

    def _warm_up(self, session: Session) -> None:
        if self.job.requests and self.job.warmup:
            self._say("warmed up")
            feeds = load_tensors(self.folder / request_file(0))
            for _ in range(self.job.warmup):
                try:
                    session.run(feeds)
                except EngineError:
                    return  # told when the request is run and recorded

    def _run(self, session: Session, index: int, counters: HardwareCounters) -> None:
        self._say(f"run request {index + 1} of {self.job.requests}")
        path = self.folder / request_file(index)
        feeds = load_tensors(path)
        outputs: dict[str, Array] = {}
        for _ in range(self.job.repeats):
            try:
                outputs = self._measured(session, feeds, counters)
            except EngineError as error:
                self.errors.append(error.message)
                return
        self.errors.append(None)
        if self.job.keep_outputs:
            kept = outputs if self.job.kept is None else {k: v for k, v in outputs.items() if k in self.job.kept}
            save_tensors(self.folder / answer_file(index), kept)
        path.unlink()

    def _measured(self, session: Session, feeds: Tensors, counters: HardwareCounters) -> dict[str, Array]:
        counters.start()
        began, cpu, started = time.perf_counter(), _cpu_s(), time.perf_counter()
        try:
            outputs = session.run(feeds)
            self.latencies_ms.append(1000 * (time.perf_counter() - started))
        finally:
            self.cpu_s += _cpu_s() - cpu
            self.wall_s += time.perf_counter() - began
            counters.stop()
        return outputs

    def _say(self, stage: str) -> None:
        (self.folder / STAGE).write_text(stage)


def _path(job: JobDocument) -> Path:
    return Path(os.fsdecode(unquote_to_bytes(job.package)))


def _resident_after_unload() -> int:
    """Resident bytes once the session is gone and the allocator gave back what it only kept in reserve."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
    return resident_bytes()


def _cpu_s() -> float:
    """User and system time so far; under RLIMIT_CPU the clock of time.process_time only moves with the timer tick."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _major_faults() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_majflt


def _plain(error: HyperionError) -> dict[str, JsonValue]:
    simple = (str, int, float, bool)
    return {key: value if isinstance(value, simple) else str(value) for key, value in error.details().items()}
