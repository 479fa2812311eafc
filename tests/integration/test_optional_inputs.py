"""Inputs that a request may leave out, from the ONNX graph to the served deployment."""

from __future__ import annotations

import json
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from tests.fakes.checks_host import checks_host
from tests.fakes.reporter import CollectingReporter
from tests.packaging import answers, load, model_of, pack, tensor, weight, write_model
from tests.serving_kit import call, supervisor

from hyperion.adapters.files.package_files import LocalPackages
from hyperion.domain.manifest import MANIFEST
from hyperion.domain.tensor import TensorSpec
from hyperion.errors import ConfigError, EngineError, MalformedPackageError
from hyperion.format.archive import PendingEntry, write_archive
from hyperion.usecases.verify import verify_model, verify_performance
from hyperion.verification.golden import load_golden

DEFAULT = np.array([2.0], np.float32)


def scaled(
    default: np.ndarray = DEFAULT, shape: tuple[int | str, ...] | None = None, *, ir_version: int = 9
) -> onnx.ModelProto:
    """y = (x·W)·scale for x [batch, 32] and W [32, 16]; ``scale`` is an input with a default."""
    model = model_of(
        [helper.make_node("MatMul", ["x", "w"], ["p"]), helper.make_node("Mul", ["p", "scale"], ["y"])],
        [tensor("x", "batch", 32), tensor("scale", *(default.shape if shape is None else shape))],
        [tensor("y", "batch", 16)],
        [weight("w", 32, 16), numpy_helper.from_array(default, "scale")],
    )
    model.ir_version = ir_version
    return model


def x(rows: int = 3) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(rows, 32)).astype(np.float32)


class TestPackages:
    @pytest.mark.parametrize("quantize", ["none", "int8", "w4"])
    def test_a_default_stands_in_where_an_input_is_left_out(self, quantize: str, tmp_path: Path) -> None:
        pack(write_model(tmp_path / "d", scaled()), tmp_path / "m.hyperion", quantize)

        model = load(tmp_path / "m.hyperion")

        without, given = model.run({"x": x()})["y"], model.run({"x": x(), "scale": DEFAULT})["y"]
        other = model.run({"x": x(), "scale": 3 * DEFAULT})["y"]
        assert model.inputs[1] == TensorSpec(name="scale", dtype="float32", shape=(1,), optional=True)
        assert np.array_equal(without, given)
        assert np.allclose(other, 3 * without, rtol=1e-5)

    def test_the_answers_are_those_of_the_original(self, tmp_path: Path) -> None:
        pack(write_model(tmp_path / "d", scaled()), tmp_path / "m.hyperion", "none")

        model = load(tmp_path / "m.hyperion")

        for feeds in ({"x": x()}, {"x": x(), "scale": np.array([0.5], np.float32)}):
            assert np.array_equal(model.run(feeds)["y"], answers(scaled(), feeds)["y"])

    def test_a_default_is_no_weight(self, tmp_path: Path) -> None:
        matrix = np.random.default_rng(1).normal(size=(1, 16)).astype(np.float32)
        pack(write_model(tmp_path / "d", scaled(matrix)), tmp_path / "m.hyperion", "int8")

        with LocalPackages().open(tmp_path / "m.hyperion") as package:
            stored = {tensor.name for layer in package.manifest.layers for tensor in layer.tensors}
        assert stored == {"w_int8", "w_scale"}

    def test_an_optional_input_is_checked_where_it_is_given(self, tmp_path: Path) -> None:
        pack(write_model(tmp_path / "d", scaled()), tmp_path / "m.hyperion", "none")
        model = load(tmp_path / "m.hyperion")

        with pytest.raises(EngineError, match="'scale' does not fit: expected size 1"):
            model.run({"x": x(), "scale": np.ones(2, np.float32)})
        with pytest.raises(EngineError, match="'x' is missing"):
            model.run({"scale": DEFAULT})

    def test_a_default_in_an_external_part_is_taken_in(self, tmp_path: Path) -> None:
        folder = write_model(
            tmp_path / "d", scaled(), save_as_external_data=True, size_threshold=0, location="weights.bin"
        )

        pack(folder, tmp_path / "m.hyperion", "none")

        assert np.array_equal(load(tmp_path / "m.hyperion").run({"x": x()})["y"], answers(scaled(), {"x": x()})["y"])

    def test_a_default_of_64_kib_is_an_input_still_and_a_larger_one_a_weight(self, tmp_path: Path) -> None:
        largest, larger = np.ones((1024, 16), np.float32), np.ones((1025, 16), np.float32)
        for name, default in (("largest", largest), ("larger", larger)):
            folder = write_model(tmp_path / name, scaled(default, ("n", 16)))
            summary = pack(folder, tmp_path / f"{name}.hyperion", "none")

        rows = {"largest": 1024, "larger": 1025}
        outputs = {name: load(tmp_path / f"{name}.hyperion").run({"x": x(n)})["y"] for name, n in rows.items()}
        assert [spec.optional for spec in load(tmp_path / "largest.hyperion").inputs] == [False, True]
        assert [spec.name for spec in load(tmp_path / "larger.hyperion").inputs] == ["x"]
        assert {name: array.shape for name, array in outputs.items()} == {"largest": (1024, 16), "larger": (1025, 16)}
        assert (
            "the default of the input 'scale' has 65600 bytes, more than 65536: it becomes a weight, which no request "
            "can replace"
        ) in summary.warnings

    def test_before_ir_version_4_the_list_means_nothing(self, tmp_path: Path) -> None:
        model = scaled(ir_version=3)
        model.graph.input.append(tensor("w", 32, 16))

        pack(write_model(tmp_path / "d", model), tmp_path / "m.hyperion", "none")

        assert [spec.name for spec in load(tmp_path / "m.hyperion").inputs] == ["x"]

    def test_a_list_of_all_weights_is_an_exporters_habit(self, tmp_path: Path) -> None:
        model = scaled()
        model.graph.input.append(tensor("w", 32, 16))

        summary = pack(write_model(tmp_path / "d", model), tmp_path / "m.hyperion", "int8")

        assert [spec.name for spec in load(tmp_path / "m.hyperion").inputs] == ["x"]
        assert summary.scheme == "int8"
        assert any(warning.startswith("all 2 weights stand among the model's inputs") for warning in summary.warnings)

    def test_a_manifest_that_calls_it_required_is_refused(self, tmp_path: Path) -> None:
        pack(write_model(tmp_path / "d", scaled()), tmp_path / "m.hyperion", "none")
        forged = tmp_path / "forged.hyperion"
        with LocalPackages().open(tmp_path / "m.hyperion") as package, forged.open("wb") as stream:
            signature = package.manifest.signature
            required = tuple(spec.model_copy(update={"optional": False}) for spec in signature.inputs)
            lie = {"signature": signature.model_copy(update={"inputs": required})}
            contents = {name: package.read(name) for name in package.names() if name != MANIFEST}
            write_archive(
                stream,
                [PendingEntry(name, len(data), partial(BytesIO, data)) for name, data in contents.items()],
                lambda entries: package.manifest.model_copy(update={**lie, "entries": entries}),
            )

        with pytest.raises(MalformedPackageError, match="names the inputs"):
            load(forged)


class TestChecks:
    def packed(self, folder: Path, **golden: Any) -> Path:
        """The model with a scalar default, and a golden request of these arrays."""
        source = write_model(folder / "d", scaled(np.array(2.0, np.float32)))
        (source / "golden").mkdir()
        np.savez(source / "golden" / "sample.npz", **golden)
        pack(source, folder / "m.hyperion", "none")
        return folder / "m.hyperion"

    @pytest.mark.parametrize("given", [{}, {"scale": np.array(3.0, np.float32)}])
    def test_golden_requests_may_leave_it_out(self, given: dict[str, np.ndarray], tmp_path: Path) -> None:
        feeds = {"x": x(), **given}
        wanted = answers(scaled(np.array(2.0, np.float32)), feeds)["y"]
        path = self.packed(tmp_path, **feeds, **{"output:y": wanted})

        report = verify_model(checks_host(tmp_path), path, CollectingReporter())

        with LocalPackages().open(path) as package:
            assert load_golden(package, "sample").inputs.keys() == feeds.keys()
        assert report.ok
        golden = next(finding for finding in report.findings if finding.check == "model.golden")
        assert golden.summary == "golden requests answered within tolerance: 1 of 1"

    def test_a_generated_request_leaves_it_out(self, tmp_path: Path) -> None:
        pack(write_model(tmp_path / "d", scaled()), tmp_path / "m.hyperion", "none")

        report = verify_model(checks_host(tmp_path), tmp_path / "m.hyperion", CollectingReporter())

        outputs = next(finding for finding in report.findings if finding.check == "model.outputs")
        assert (outputs.outcome.value, outputs.summary) == ("passed", "a generated input gives finite outputs")

    def test_a_model_of_optional_inputs_alone_answers_an_empty_request(self, tmp_path: Path) -> None:
        model = model_of(
            [helper.make_node("Add", ["scale", "scale"], ["y"])],
            [tensor("scale", 1)],
            [tensor("y", 1)],
            [numpy_helper.from_array(DEFAULT, "scale")],
        )
        pack(write_model(tmp_path / "d", model), tmp_path / "m.hyperion")

        report = verify_model(checks_host(tmp_path), tmp_path / "m.hyperion", CollectingReporter())

        assert load(tmp_path / "m.hyperion").run({})["y"].tolist() == [4.0]
        assert report.ok

    def test_datasets_may_leave_it_out(self, tmp_path: Path) -> None:
        pack(write_model(tmp_path / "d", scaled()), tmp_path / "m.hyperion", "none")
        (tmp_path / "data").mkdir()
        np.savez(tmp_path / "data" / "a.npz", x=x(5))
        header = ",".join(f"f{number}" for number in range(32))
        np.savetxt(tmp_path / "data" / "b.csv", x(4), delimiter=",", header=header, comments="")

        report = verify_performance(
            checks_host(tmp_path), tmp_path / "m.hyperion", tmp_path / "data", CollectingReporter()
        )

        assert report.ok
        assert report.findings[-1].measured == {"rows": 9, "batches": 2, "refused_batches": 0}

    def test_a_dataset_gives_it_row_by_row_or_not_at_all(self, tmp_path: Path) -> None:
        by_row = scaled(np.ones((1, 1), np.float32), ("batch", 1))
        for name, model in (("rows", by_row), ("fixed", scaled())):
            pack(write_model(tmp_path / name, model), tmp_path / f"{name}.hyperion", "none")
        (tmp_path / "data").mkdir()
        np.savez(tmp_path / "data" / "a.npz", x=x(5), scale=np.ones((5, 1), np.float32))
        host = checks_host(tmp_path)

        assert verify_performance(host, tmp_path / "rows.hyperion", tmp_path / "data", CollectingReporter()).ok
        with pytest.raises(ConfigError, match=r"'scale'.* is not given row by row"):
            verify_performance(host, tmp_path / "fixed.hyperion", tmp_path / "data", CollectingReporter())


def test_a_served_request_may_leave_it_out(tmp_path: Path) -> None:
    pack(write_model(tmp_path / "d", scaled()), tmp_path / "m.hyperion", "none")
    given = {"name": "x", "shape": [3, 32], "datatype": "FP32", "data": x().ravel().tolist()}

    def scale(*values: float) -> dict[str, object]:
        return {"name": "scale", "shape": [len(values)], "datatype": "FP32", "data": values}

    with supervisor(tmp_path / "home") as running:
        url = running.deploy(tmp_path / "m.hyperion").url
        model = f"{url}/v2/models/shop"
        found = [
            call(f"{model}/infer", json.dumps({"inputs": inputs}).encode())
            for inputs in ([given], [given, scale(4.0)], [given, scale(1.0, 2.0)], [scale(4.0)])
        ]
        metadata = call(model)[1]

    values = [answer["outputs"][0]["data"] for status, answer, _ in found if status == 200]
    assert np.allclose(values[0], answers(scaled(), {"x": x()})["y"].ravel(), rtol=1e-6)
    assert np.allclose(values[1], 2 * np.array(values[0]), rtol=1e-5)
    assert [(status, answer["error"]) for status, answer, _ in found[2:]] == [
        (400, "input 'scale': expected size 1 in dimension 0 of float32[1], found 2"),
        (400, "missing input 'x'"),
    ]
    assert [spec.get("parameters") for spec in metadata["inputs"]] == [None, {"optional": True}]
