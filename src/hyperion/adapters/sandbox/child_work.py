"""The child's side of the sandbox: load one package, run the requests, measure, write the report last."""

from __future__ import annotations

import ctypes
import gc
import os
import resource
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote_to_bytes

from hyperion.adapters.engine.curve_measuring import measure_curve
from hyperion.adapters.engine.image_building import build_image
from hyperion.adapters.engine.onnxruntime_engine import load_source
from hyperion.adapters.files.document_bytes import document_bytes
from hyperion.adapters.files.tensor_file import load_tensors, save_tensors
from hyperion.adapters.host.hardware_counters import HardwareCounters
from hyperion.adapters.host.process_usage import peak_resident_bytes, resident_bytes, storage_read_bytes
from hyperion.adapters.sandbox.child_protocol import (
    JOB,
    LOADING,
    REPORT,
    STAGE,
    JobDocument,
    ReportDocument,
    answer_file,
    request_file,
)
from hyperion.adapters.sandbox.confinement import ResourceLimits, confine
from hyperion.domain.confinement import Confinement
from hyperion.domain.document import JsonValue
from hyperion.domain.tuning import Curve
from hyperion.errors import EngineError, HyperionError
from hyperion.format.package import PackageReader
from hyperion.ports import Array, Engine, PackageOpener, Session, SessionOptions, Tensors


def load_job(folder: Path) -> JobDocument:
    """The job that the sandbox wrote into ``folder``."""
    return JobDocument.model_validate_json((folder / JOB).read_bytes())


def perform(
    folder: Path,
    job: JobDocument,
    engine: Engine,
    packages: PackageOpener,
    counters: HardwareCounters | None = None,
    confinement: Confinement | None = None,
) -> None:
    """Do ``job`` and write the report into ``folder``, in one step, as the last thing.

    Args:
        folder: The job's.
        job: What to do.
        engine: Loads the package.
        packages: Opens it.
        counters: Opened before the process was confined, which may not do so any more; None opens them.
        confinement: What holds this process back; told in the report.
    """
    try:
        report = _Work(folder, job, engine, packages, counters).do()
        report = report.model_copy(update={"confinement": confinement})
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


def confine_child(folder: Path, job: JobDocument) -> Confinement:
    """Confine this process before it touches the package: it reads that and writes into ``folder``, and no more."""
    limits = ResourceLimits(
        address_space_bytes=job.address_space_bytes, cpu_s=job.cpu_s, file_bytes=job.file_size_bytes
    )
    path = _path(job)
    return confine([path.parent if job.source else path], [folder], limits=limits)


@dataclass
class _Work:
    folder: Path
    job: JobDocument
    engine: Engine
    packages: PackageOpener
    counters: HardwareCounters | None = None
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
        sample = load_tensors(self.folder / request_file(0)) if self.job.curve and self.job.requests else None
        self._say(LOADING)
        before, read_before, faults_before = resident_bytes(), storage_read_bytes(), _major_faults()
        started = time.perf_counter()
        with self._package() as package:
            if self.job.image and package is not None:
                return build_image(self.folder, self.job, self.engine, package)
            options = SessionOptions(threads=self.job.threads)
            try:
                session = self._session(package, options)
            except EngineError as error:
                raise EngineError(
                    error.message, hint=error.hint, code="engine.load_failed", entry=error.entry
                ) from error
            load_ms = 1000 * (time.perf_counter() - started)
            after_load = resident_bytes()
            counters = self.counters or HardwareCounters()
            self._warm_up(session)
            for index in range(self.job.requests):
                self._run(session, index, counters)
            counts = counters.read()
            counters.close()
            steady, peak = resident_bytes(), peak_resident_bytes()
            curve = None
            if package is not None and sample is not None and not self.errors[0]:
                curve = self._curve(package, session, sample)
            del session
        read_after = storage_read_bytes()
        return ReportDocument(
            errors=tuple(self.errors), latencies_ms=tuple(self.latencies_ms), load_ms=load_ms, cpu_s=self.cpu_s,
            wall_s=self.wall_s, before_load=before, after_load=after_load, steady=steady,
            peak=max(peak, steady, after_load),  # the kernel updates its mark a little late
            after_unload=_resident_after_unload() if self.job.unload else None,
            read_bytes=None if read_before is None or read_after is None else read_after - read_before,
            major_faults=_major_faults() - faults_before, counters=counts, counters_unavailable=counters.unavailable,
            curve=curve,
        )  # fmt: skip

    def _session(self, package: PackageReader | None, options: SessionOptions) -> Session:
        return load_source(_path(self.job), options) if package is None else self.engine.load(package, options)

    def _package(self) -> AbstractContextManager[PackageReader | None]:
        """The package; None where the job is about a model that is in none."""
        return nullcontext() if self.job.source else self.packages.open(_path(self.job))

    def _curve(self, package: PackageReader, session: Session, sample: Tensors) -> Curve:
        self._say("measured threads and batches")
        job = self.job
        return measure_curve(self.engine, package, session, sample, job.threads, job.trial_threads)

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
