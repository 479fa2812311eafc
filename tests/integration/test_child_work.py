"""The child's side of the sandbox, in this process: what it writes, and in what order."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.fakes.checks_host import checks_host, packaged
from tests.models import inputs

from hyperion.adapters.engine.onnxruntime_engine import OnnxRuntimeEngine
from hyperion.adapters.files.package_files import LocalPackages
from hyperion.adapters.files.tensor_file import load_tensors, save_tensors
from hyperion.adapters.sandbox.child_protocol import REPORT, JobDocument, ReportDocument, answer_file, request_file
from hyperion.adapters.sandbox.child_work import load_job, perform
from hyperion.errors import EngineError, HostError
from hyperion.format.package import PackageReader
from hyperion.ports import Session, SessionOptions


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("package")
    return packaged(folder, checks_host(folder))


def job(package: Path, **changed: object) -> JobDocument:
    known: dict[str, object] = {
        "parent": os.getppid(), "package": str(package), "requests": 0, "repeats": 1, "warmup": 0, "threads": 1,
        "keep_outputs": True, "kept": None, "unload": False, "address_space_bytes": None, "cpu_s": 60,
    }  # fmt: skip
    return JobDocument.model_validate({**known, **changed})


def report(folder: Path) -> ReportDocument:
    return ReportDocument.model_validate_json((folder / REPORT).read_bytes())


class BrokenEngine(OnnxRuntimeEngine):
    def __init__(self, error: BaseException) -> None:
        self._error = error

    def load(self, package: PackageReader, options: SessionOptions = SessionOptions()) -> Session:  # noqa: B008
        raise self._error


def test_answers_lie_beside_the_report_and_requests_are_used_up(package: Path, tmp_path: Path) -> None:
    save_tensors(tmp_path / request_file(0), {"x": inputs(2)})
    save_tensors(tmp_path / request_file(1), {"x": np.zeros((2, 3), np.float32)})

    perform(tmp_path, job(package, requests=2, warmup=1, unload=True), OnnxRuntimeEngine(), LocalPackages())

    found = report(tmp_path)
    assert found.error is None
    assert found.errors[0] is None
    assert found.errors[1] is not None
    assert load_tensors(tmp_path / answer_file(0))["probabilities"].shape == (2, 8)
    assert not (tmp_path / answer_file(1)).exists()
    assert not (tmp_path / request_file(0)).exists()
    assert found.after_unload is not None
    assert found.peak >= max(found.before_load, found.after_load, found.steady)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (EngineError("no such operator"), "engine.load_failed"),
        (MemoryError(), "engine.out_of_memory"),
        (HostError("no such disk", code="host.disk"), "host.disk"),
    ],
)
def test_what_keeps_it_from_loading_is_the_report(
    package: Path, tmp_path: Path, error: BaseException, code: str
) -> None:
    perform(tmp_path, job(package), BrokenEngine(error), LocalPackages())

    found = report(tmp_path)
    assert found.error in ("EngineError", "HostError")
    assert found.details["code"] == code


def test_the_job_is_what_the_sandbox_wrote(package: Path, tmp_path: Path) -> None:
    (tmp_path / "job.json").write_bytes(job(package, kept=("y",)).model_dump_json().encode())

    assert load_job(tmp_path) == job(package, kept=("y",))


def test_a_child_whose_parent_is_another_does_not_begin() -> None:
    begin = "from hyperion.adapters.sandbox.parent_death import die_with_parent as d; d({})"

    orphan = subprocess.run([sys.executable, "-c", begin.format(1)], check=False, capture_output=True)
    child = subprocess.run([sys.executable, "-c", begin.format(os.getpid())], check=False, capture_output=True)

    assert orphan.returncode == 1
    assert b"the parent ended before this child began" in orphan.stderr
    assert child.returncode == 0


@pytest.mark.parametrize("raw", [b"", b"\xff" * 8, b"\x02\0\0\0\0\0\0\0[{", b"\x04\0\0\0\0\0\0\0[{}]"])
def test_a_file_that_holds_no_tensors_is_an_error(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "t").write_bytes(raw)

    with pytest.raises(HostError, match="no tensor file"):
        load_tensors(tmp_path / "t")


def test_tensors_are_never_written_over_others(tmp_path: Path) -> None:
    save_tensors(tmp_path / "t", {})

    with pytest.raises(HostError):
        save_tensors(tmp_path / "t", {})
