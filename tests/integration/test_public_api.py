"""The library: what a program gets by ``import hyperion``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.fakes.reporter import CollectingReporter
from tests.models import expected, inputs, mlp, write_model_dir
from tests.packaging import packaging_host

import hyperion
from hyperion.usecases.extract import extract_model


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYPERION_HOME", str(tmp_path / "state"))


def test_packaging_loading_and_running(tmp_path: Path) -> None:
    summary = hyperion.package(
        write_model_dir(tmp_path / "d"), str(tmp_path / "m.hyperion"), quantize="none", version="3.2.1"
    )

    model = hyperion.load_model(str(tmp_path / "m.hyperion"))

    found = model.run({"x": inputs()})
    assert np.array_equal(found["probabilities"], expected(mlp(0), inputs()))
    assert [(spec.name, spec.dtype, spec.shape) for spec in model.inputs] == [("x", "float32", ("batch", 32))]
    assert [(spec.name, spec.dtype, spec.shape) for spec in model.outputs] == [
        ("probabilities", "float32", ("batch", 8))
    ]
    assert (model.manifest.version, model.digest) == ("3.2.1", summary.digest)
    assert "test-mlp 3.2.1" in repr(model)


def test_opening_and_verifying(tmp_path: Path) -> None:
    hyperion.package(write_model_dir(tmp_path / "d"), tmp_path / "m.hyperion")

    with hyperion.open_package(tmp_path / "m.hyperion") as package:
        assert package.manifest.name == "test-mlp"
    report = hyperion.verify(tmp_path / "m.hyperion")
    compatibility = hyperion.verify(tmp_path / "m.hyperion", platform="linux/amd64")

    assert report.ok
    assert (report.kind, compatibility.kind) == ("model", "compatibility")
    with pytest.raises(TypeError):
        hyperion.verify(tmp_path / "m.hyperion", dataset=tmp_path, platform="linux/amd64")


def test_a_damaged_package_is_refused_unless_its_digests_are_known_already(tmp_path: Path) -> None:
    hyperion.package(write_model_dir(tmp_path / "d"), tmp_path / "m.hyperion", quantize="none")
    extract_model(packaging_host(tmp_path), tmp_path / "m.hyperion", tmp_path / "tree", CollectingReporter())
    weights = tmp_path / "tree" / "weights" / "layer0.weights"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)

    with pytest.raises(hyperion.HyperionError) as refused:
        hyperion.load_model(tmp_path / "tree")

    assert (refused.value.code, refused.value.entry) == ("package.digest_mismatch", "weights/layer0.weights")
    assert hyperion.load_model(tmp_path / "tree", check=False).inputs[0].name == "x"


def test_errors_are_typed(tmp_path: Path) -> None:
    with pytest.raises(hyperion.HyperionError):
        hyperion.load_model(tmp_path / "gone.hyperion")


def test_every_public_name_resolves() -> None:
    assert all(getattr(hyperion, name) is not None for name in hyperion.__all__)
    assert set(hyperion.__all__) <= set(dir(hyperion))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        hyperion.nonsense  # noqa: B018


def test_importing_loads_nothing_heavy() -> None:
    heavy = ("numpy", "onnx", "onnxruntime", "uvicorn", "pydantic", "click", "httpx", "sklearn")
    code = f"import sys, hyperion; print([name for name in {heavy!r} if name in sys.modules])"

    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert result.stdout.strip() == "[]"


def test_loading_does_not_import_the_whole_of_onnx(tmp_path: Path) -> None:
    hyperion.package(write_model_dir(tmp_path / "d"), tmp_path / "m.hyperion", quantize="none")
    code = (
        f"import sys, hyperion; hyperion.load_model({str(tmp_path / 'm.hyperion')!r}); "
        "print([name for name in ('onnx', 'sklearn', 'uvicorn') if name in sys.modules])"
    )

    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert result.stdout.strip() == "[]"


def test_unquantized_packaging_starts_no_child(tmp_path: Path) -> None:
    folder = write_model_dir(tmp_path / "d")
    code = (
        "import sys\n"
        "events = []\n"
        "watched = ('subprocess.Popen', 'os.fork', 'os.forkpty', 'os.posix_spawn', 'os.exec', 'os.system')\n"
        "sys.addaudithook(lambda event, args: events.append(event) if event in watched else None)\n"
        "import hyperion\n"
        f"hyperion.package({str(folder)!r}, {str(tmp_path / 'm.hyperion')!r}, quantize='none')\n"
        f"hyperion.load_model({str(tmp_path / 'm.hyperion')!r})\n"
        "print(events)"
    )

    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert result.stdout.strip() == "[]"
