"""Golden requests of a model directory: what becomes of them in its package."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper
from tests.models import expected, inputs, mlp, write_model_dir
from tests.packaging import pack

from hyperion.adapters.files.package_files import LocalPackages
from hyperion.domain.manifest import GoldenRequest
from hyperion.format.package import PackageReader
from hyperion.verification.golden import load_golden


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_model_dir(tmp_path / "model")


def opened(path: Path) -> PackageReader:
    return LocalPackages().open(path)


class TestGolden:
    def golden(self, path: Path, name: str = "sample") -> GoldenRequest:
        with opened(path) as package:
            return load_golden(package, name).rule

    def test_written_tolerances_are_kept(self, folder: Path, tmp_path: Path) -> None:
        pack(folder, tmp_path / "m.hyperion", "int8")

        assert self.golden(tmp_path / "m.hyperion").absolute == 0.05

    def test_unwritten_tolerances_are_those_of_the_scheme(self, folder: Path, tmp_path: Path) -> None:
        (folder / "golden" / "sample.json").unlink()
        pack(folder, tmp_path / "float.hyperion", "none")
        summary = pack(folder, tmp_path / "int8.hyperion", "int8")

        with opened(tmp_path / "int8.hyperion") as package:
            golden = load_golden(package, "sample")
        assert self.golden(tmp_path / "float.hyperion") == GoldenRequest()
        assert golden.rule == GoldenRequest(comparison="norm", relative=0.15)
        assert np.array_equal(golden.outputs["probabilities"], expected(mlp(0), inputs()))
        assert summary.warnings == ()

    def test_unwritten_tolerances_that_the_scheme_misses_are_warned_of(self, folder: Path, tmp_path: Path) -> None:
        (folder / "golden" / "sample.json").unlink()
        np.savez(folder / "golden" / "sample.npz", x=inputs(), probabilities=np.zeros((4, 8), np.float32))

        summary = pack(folder, tmp_path / "m.hyperion", "int8")

        assert summary.warnings[0].startswith(
            "golden request 'sample' is not met: output 'probabilities': expected a distance of at most 0.0001"
        )

    def test_decisions_are_not_compared_beside_scores_once_quantized(self, tmp_path: Path) -> None:
        model = mlp(0)
        model.graph.node.append(helper.make_node("ArgMax", ["probabilities"], ["label"], axis=1, keepdims=0))
        model.graph.output.append(helper.make_tensor_value_info("label", TensorProto.INT64, ["batch"]))
        folder = write_model_dir(tmp_path / "labelled", model=model, golden=False)
        (folder / "golden").mkdir()
        x = inputs()
        probabilities = expected(mlp(0), x)
        np.savez(folder / "golden" / "sample.npz", x=x, probabilities=probabilities, label=probabilities.argmax(axis=1))

        summary = pack(folder, tmp_path / "int8.hyperion", "int8")

        assert self.golden(tmp_path / "int8.hyperion").ignore == ("label",)
        assert summary.warnings[0].startswith("golden request 'sample': 'label' is not compared")

    def test_a_model_that_misses_written_tolerances_is_warned_of(self, folder: Path, tmp_path: Path) -> None:
        (folder / "golden" / "sample.json").write_text(json.dumps({"absolute": 1e-6, "relative": 1e-6}))

        summary = pack(folder, tmp_path / "m.hyperion", "int8")

        assert summary.warnings[0].startswith("golden request 'sample' is not met: output 'probabilities'")

    def test_auto_keeps_in_float_what_misses_written_tolerances(self, folder: Path, tmp_path: Path) -> None:
        (folder / "golden" / "sample.json").write_text(json.dumps({"absolute": 1e-6, "relative": 1e-6}))

        summary = pack(folder, tmp_path / "m.hyperion", "auto")

        assert (summary.scheme, summary.warnings) == ("none", ())
        assert summary.reason == "nothing could be quantized"
        assert summary.shortfall is not None
        assert "golden request 'sample' is not met" in summary.shortfall

    def test_wrong_expected_outputs_are_warned_of(self, folder: Path, tmp_path: Path) -> None:
        np.savez(folder / "golden" / "sample.npz", x=inputs(), probabilities=np.zeros((4, 8), np.float32))

        summary = pack(folder, tmp_path / "m.hyperion", "none")

        assert "golden request 'sample' is not met" in summary.warnings[0]

    def test_a_request_without_expected_outputs_is_kept_so(self, folder: Path, tmp_path: Path) -> None:
        np.savez(folder / "golden" / "sample.npz", x=inputs())

        summary = pack(folder, tmp_path / "m.hyperion", "none")

        with opened(tmp_path / "m.hyperion") as package:
            golden = load_golden(package, "sample")
        assert (list(golden.inputs), golden.outputs) == (["x"], {})
        assert summary.warnings == (
            "golden request 'sample' names no outputs: it is run, but nothing says which answers are right",
        )

    def test_json_requests_are_taken_too(self, folder: Path, tmp_path: Path) -> None:
        x = inputs(2)
        request = {
            "inputs": {"x": x.tolist()},
            "outputs": {"probabilities": expected(mlp(0), x).tolist()},
            "absolute": 0.1,
        }
        (folder / "golden" / "two.json").write_text(json.dumps(request))

        pack(folder, tmp_path / "m.hyperion", "none")

        with opened(tmp_path / "m.hyperion") as package:
            golden = load_golden(package, "two")
        assert golden.inputs["x"].dtype == np.float32
        assert golden.rule.absolute == 0.1
