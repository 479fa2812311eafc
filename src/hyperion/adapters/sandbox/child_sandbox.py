"""Runs models in a child process with limits, so that one which crashes, hangs or grows takes nothing with it."""

from __future__ import annotations

import errno
import math
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from pydantic import ValidationError

from hyperion.adapters.files.private_folder import private_folder
from hyperion.adapters.files.state_folder import make_private
from hyperion.adapters.files.tensor_file import load_tensors, save_tensors
from hyperion.adapters.onnx.validator import DENIED
from hyperion.adapters.sandbox.child_protocol import (
    IMAGE,
    JOB,
    LOADING,
    REPORT,
    STAGE,
    STARTING,
    JobDocument,
    ReportDocument,
    answer_file,
    request_file,
)
from hyperion.adapters.sandbox.child_start import OUTPUT_TEXT, start_child
from hyperion.errors import EngineError, HostError, error_from
from hyperion.ports import Array, InferenceJob, InferenceResult, MemoryFigures, SandboxLimits

OUTPUT_TEXT_LIMIT = 2_000
KILL_S = 10.0
"""How long a killed child may take to be gone."""
DEFAULT_LIMITS = SandboxLimits()
CHILD = "hyperion.cli.child"
_PREFIX = "hyperion-job-"


class ChildSandbox:
    """Implements ports.Sandbox: one exec'd, confined child per job, in its own session, with a minimal environment.

    Job and arrays pass through a private folder (0700) that is removed afterwards, whatever happens.
    """

    def __init__(self, folder: Path | None = None) -> None:
        """Keep the private folders of jobs in ``folder``, by default where the system keeps temporary files."""
        self._folder = folder or Path(tempfile.gettempdir())

    def run(self, job: InferenceJob, limits: SandboxLimits = DEFAULT_LIMITS) -> InferenceResult:
        """See ports.Sandbox.run."""
        with self._private_folder(self._folder if job.image is None else job.image.parent) as folder:
            try:
                _write_job(folder, job, limits)
                process = start_child(CHILD, folder, _environment(folder))
            except OSError as error:
                raise _unstartable(f"cannot start a child process in {folder}", error) from error
            except HostError as error:
                hint = f"{error.hint}; TMPDIR names another folder"
                raise HostError(error.message, hint=hint, code=error.code) from error
            try:
                code = process.wait(limits.timeout_s)
            except subprocess.TimeoutExpired as error:
                raise EngineError(
                    f"{job.package}: the child had not {_stage(folder)} after {limits.timeout_s:g} s and was killed",
                    hint="allow more time, or look for a loop or an oversized dimension in the model",
                    code="engine.timeout",
                ) from error
            finally:
                _end(process)
            report = _read_report(folder, job, code)
            if job.image is not None:
                _keep_image(folder, job.image)
            return _result(folder, report)

    @contextmanager
    def _private_folder(self, place: Path) -> Iterator[Path]:
        stack = ExitStack()
        try:
            make_private(place)
            folder = stack.enter_context(private_folder(place, _PREFIX))
        except OSError as error:
            raise _unstartable(f"cannot make a folder for a child process in {place}", error) from error
        with stack:
            yield folder


@dataclass(frozen=True, slots=True)
class _Ending:
    """How a child ended that left no report."""

    code: int

    def words(self) -> str:
        if self.code >= 0:
            return f"ended with status {self.code}"
        try:
            return f"was killed by {signal.Signals(-self.code).name}"
        except ValueError:
            return f"was killed by signal {-self.code}"

    def hint(self) -> str:
        if self.code == -signal.SIGKILL:
            return (
                "perhaps the kernel ran out of memory: see dmesg, and the model's memory with 'hyperion verify memory'"
            )
        return "the model makes the engine crash: do not deploy it; package it again from its source"


def _unstartable(what: str, error: OSError) -> HostError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        hint = "free some space there, or name a folder on another disk with TMPDIR"
        return HostError(f"{what}: {error.strerror}", hint=hint, code="host.no_space")
    hint = "check the permissions there and the limit of processes; TMPDIR names another folder"
    return HostError(f"{what}: {error.strerror}", hint=hint)


def _write_job(folder: Path, job: InferenceJob, limits: SandboxLimits) -> None:
    count = 0
    for feeds in job.requests:
        save_tensors(folder / request_file(count), feeds)
        count += 1
    document = JobDocument(
        parent=os.getpid(), package=quote(os.fsencode(job.package.absolute())), requests=count, repeats=job.repeats,
        warmup=job.warmup, threads=job.threads, keep_outputs=job.keep_outputs,
        kept=None if job.kept is None else tuple(sorted(job.kept)), unload=job.unload, image=job.image is not None,
        source=job.source,
        curve=job.curve, trial_threads=job.trial_threads, file_size_bytes=limits.file_size_bytes,
        address_space_bytes=limits.address_space_bytes, cpu_s=math.ceil(limits.timeout_s * job.threads) + 1,
    )  # fmt: skip
    (folder / JOB).write_bytes(document.model_dump_json().encode())
    (folder / STAGE).write_text(STARTING)


def _environment(folder: Path) -> Mapping[str, str]:
    """Where to import from, a locale and a place for temporary files: nothing of the user's environment."""
    importable = [entry for entry in sys.path if Path(entry).is_absolute()]
    return {
        "PATH": os.defpath,
        "PYTHONPATH": os.pathsep.join(importable),
        "PYTHONDONTWRITEBYTECODE": "1",
        "OPENBLAS_NUM_THREADS": "1",  # threads that numpy starts at its import would not be confined
        "ORT_DISABLE_TELEMETRY": "1",
        "LC_ALL": "C.UTF-8",
        "HOME": str(folder),
        "TMPDIR": str(folder),
        DENIED: os.environ.get(DENIED, ""),
    }


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill the child and all that it started, where it still runs."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):  # a disk that hangs may keep it; what it was for is known by now
            process.wait(KILL_S)


def _stage(folder: Path) -> str:
    try:
        return (folder / STAGE).read_text() or STARTING
    except OSError:
        return STARTING


def _read_report(folder: Path, job: InferenceJob, code: int) -> ReportDocument:
    if code == -signal.SIGXCPU:
        raise EngineError(
            f"{job.package}: the child used all its processor time before it had {_stage(folder)}",
            code="engine.timeout",
        )
    try:
        report = ReportDocument.model_validate_json((folder / REPORT).read_bytes())
    except FileNotFoundError:
        raise _crash(folder, job, _Ending(code)) from None
    except (OSError, ValidationError) as error:
        raise EngineError(
            f"{job.package}: the child's report cannot be read: {error}", code="engine.crashed"
        ) from error
    if report.error is not None:
        raise error_from(report.error, report.details)
    return report


def _keep_image(folder: Path, place: Path) -> None:
    """Take the image out of the job's folder, which lies on the same file system."""
    try:
        (folder / IMAGE).replace(place)
    except OSError as error:
        raise HostError(f"the host image {place} cannot be kept: {error.strerror}", code="host.io") from error


def _crash(folder: Path, job: InferenceJob, ending: _Ending) -> EngineError:
    stage = _stage(folder)
    said = (folder / OUTPUT_TEXT).read_bytes()[-OUTPUT_TEXT_LIMIT:].decode(errors="replace").strip()
    last = f"; it said last: {said.splitlines()[-1]}" if said else ""
    return EngineError(
        f"{job.package}: the child {ending.words()} before it had {stage}{last}",
        hint=ending.hint(),
        code="engine.crashed",
        actual=ending.words(),
        entry="architecture.json" if stage in (STARTING, LOADING) and not job.source else None,
    )


def _result(folder: Path, report: ReportDocument) -> InferenceResult:
    outputs: list[dict[str, Array] | None] = []
    for index, error in enumerate(report.errors):
        path = folder / answer_file(index)
        outputs.append(load_tensors(path) if error is None and path.exists() else None)
    memory = MemoryFigures(
        before_load=report.before_load, after_load=report.after_load, steady=report.steady, peak=report.peak,
        after_unload=report.after_unload,
    )  # fmt: skip
    return InferenceResult(
        outputs=tuple(outputs), errors=report.errors, latencies_ms=report.latencies_ms, load_ms=report.load_ms,
        cpu_s=report.cpu_s, wall_s=report.wall_s, memory=memory, read_bytes=report.read_bytes,
        major_faults=report.major_faults, counters=report.counters,
        counters_unavailable=report.counters_unavailable, curve=report.curve, confinement=report.confinement,
    )  # fmt: skip
