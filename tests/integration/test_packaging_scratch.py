"""The folder that rounded weights lie in while a model is packaged: private, and never left behind for long."""

from __future__ import annotations

import os
import resource
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from tests.packaging import model_of, pack, tensor

from hyperion.adapters.files.atomic_file import AtomicFiles
from hyperion.errors import HostError

PATIENCE_S = 60.0


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A model directory with 2 × 2 MB of weights."""
    folder = tmp_path / "model"
    folder.mkdir()
    values = np.random.default_rng(0).normal(size=(2, 512, 1024)).astype(np.float32)
    model = model_of(
        [helper.make_node("MatMul", ["x", "up"], ["h"]), helper.make_node("MatMul", ["h", "down"], ["y"])],
        [tensor("x", "n", 512)],
        [tensor("y", "n", 512)],
        [numpy_helper.from_array(values[0], "up"), numpy_helper.from_array(values[1].reshape(1024, 512), "down")],
    )
    onnx.save(model, folder / "model.onnx")
    return folder


def test_kill_and_retry_leaves_nothing_behind(source: Path, tmp_path: Path) -> None:
    output = tmp_path / "out" / "m.hyperion"
    output.parent.mkdir()
    child = subprocess.Popen(
        [sys.executable, "-m", "hyperion", "package", "model", "--input", str(source), "--output", str(output),
         "--quantize", "w4"],
        env={**os.environ, "HYPERION_HOME": str(tmp_path / "home")}, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + PATIENCE_S
    while not list(output.parent.glob(".*/weight*")) and child.poll() is None and time.monotonic() < deadline:
        pass
    child.send_signal(signal.SIGKILL)
    child.wait()
    left = list(output.parent.iterdir())

    pack(source, output, "w4")

    assert len(left) == 1
    assert left[0].name.startswith(".m.hyperion.tmp-")
    assert list(output.parent.iterdir()) == [output]


def test_the_folder_is_private_and_goes_away(tmp_path: Path) -> None:
    with AtomicFiles().scratch(tmp_path / "m.hyperion") as scratch:
        found = stat.S_IMODE(scratch.stat().st_mode), scratch.parent, scratch.name[0]
        (scratch / "weight0-int8").write_bytes(b"x")

    assert found == (0o700, tmp_path.resolve(), ".")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_use_is_not_swept(tmp_path: Path) -> None:
    files, target = AtomicFiles(), tmp_path / "m.hyperion"

    with files.scratch(target) as scratch, files.scratch(target), files.replacing(target) as stream:
        stream.write(b"package")
        held = scratch.is_dir()

    assert held
    assert list(tmp_path.iterdir()) == [target]


def test_a_disk_that_takes_no_more_is_said(source: Path, tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(HostError, match="larger than this process may write"):
            pack(source, tmp_path / "m.hyperion", "w8")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert sorted(path.name for path in tmp_path.iterdir()) == ["model"]
