"""Golden requests of a model directory: what becomes of them in its package."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tests.models import expected, inputs, mlp, write_model_dir
from tests.packaging import pack

from hyperion.adapters.package_files import LocalPackages
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

    def test_unwritten_tolerances_suit_what_the_scheme_was_measured_to_need(self, folder: Path, tmp_path: Path) -> None:
        (folder / "golden" / "sample.json").unlink()
        pack(folder, tmp_path / "float.hyperion", "none")
        summary = pack(folder, tmp_path / "int8.hyperion", "int8")

        with opened(tmp_path / "int8.hyperion") as package:
            golden = load_golden(package, "sample")
        assert self.golden(tmp_path / "float.hyperion") == GoldenRequest()
        assert 1e-4 < golden.rule.absolute < 0.05
        assert np.array_equal(golden.outputs["probabilities"], expected(mlp(0), inputs()))
        assert summary.warnings == ()

    def test_a_model_that_misses_written_tolerances_is_warned_of(self, folder: Path, tmp_path: Path) -> None:
        (folder / "golden" / "sample.json").write_text(json.dumps({"absolute": 1e-6, "relative": 1e-6}))

        summary = pack(folder, tmp_path / "m.hyperion", "int8")

        assert summary.warnings[0].startswith("golden request 'sample' is not met: output 'probabilities'")

    def test_auto_keeps_in_float_what_misses_written_tolerances(self, folder: Path, tmp_path: Path) -> None:
        (folder / "golden" / "sample.json").write_text(json.dumps({"absolute": 1e-6, "relative": 1e-6}))

        summary = pack(folder, tmp_path / "m.hyperion", "auto")

        assert (summary.scheme, summary.warnings) == ("none", ())
        assert summary.reason is not None
        assert "golden request 'sample' is not met" in summary.reason

    def test_wrong_expected_outputs_are_warned_of(self, folder: Path, tmp_path: Path) -> None:
        np.savez(folder / "golden" / "sample.npz", x=inputs(), probabilities=np.zeros((4, 8), np.float32))

        summary = pack(folder, tmp_path / "m.hyperion", "none")

        assert "golden request 'sample' is not met" in summary.warnings[0]

    def test_missing_expected_outputs_are_recorded_from_the_float_model(self, folder: Path, tmp_path: Path) -> None:
        np.savez(folder / "golden" / "sample.npz", x=inputs())

        pack(folder, tmp_path / "m.hyperion", "none")

        with opened(tmp_path / "m.hyperion") as package:
            assert np.array_equal(load_golden(package, "sample").outputs["probabilities"], expected(mlp(0), inputs()))

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
