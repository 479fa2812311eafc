"""How batches pay is measured on the real engine, and whether a batch answers as its rows alone do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper
from tests.models import FEATURES, mlp, write_model_dir
from tests.packaging import embedder, model_of, names_and_scores, pack, tensor, weight, write_model

from hyperion.adapters.engine.curve_measuring import LONGEST_S, measure_curve
from hyperion.adapters.engine.onnxruntime_engine import OnnxRuntimeEngine
from hyperion.adapters.files.package_files import LocalPackages
from hyperion.domain.tuning import TOLERANCE, Curve
from hyperion.ports import Array, Session, Tensors


def measured(
    folder: Path, model: onnx.ModelProto, feeds: dict[str, Array], quantize: str = "none", threads: tuple[int, ...] = ()
) -> Curve:
    pack(write_model(folder / "model", model), folder / "m.hyperion", quantize)
    engine = OnnxRuntimeEngine()
    with LocalPackages().open(folder / "m.hyperion") as package:
        return measure_curve(engine, package, engine.load(package), feeds, 1, threads)


def linear(*inputs: onnx.ValueInfoProto, outputs: tuple[int | str, ...] = ("batch", 8)) -> onnx.ModelProto:
    node = helper.make_node("MatMul", ["x", "w"], ["y"], "linear")
    return model_of([node], list(inputs), [tensor("y", *outputs)], [weight("w", 16, 8)])


def test_a_float_model_answers_a_batch_as_its_rows_and_has_a_whole_curve(tmp_path: Path) -> None:
    found = measured(tmp_path, mlp(), {"x": np.ones((3, FEATURES), np.float32)})

    assert [point.batch for point in found.points] == [1, 2, 4, 8, 16, 32]
    assert all(point.run_ms > 0 for point in found.points)
    assert found.difference is not None
    assert found.difference < TOLERANCE / 10
    assert (found.threads, found.unavailable) == ((), None)


def test_activations_that_are_quantized_over_the_batch_show(tmp_path: Path) -> None:
    found = measured(tmp_path, mlp(hidden=256), {"x": np.ones((1, FEATURES), np.float32)}, "int8")

    assert found.difference is not None
    assert found.difference > TOLERANCE


def test_token_ids_are_turned_round_and_stay_valid(tmp_path: Path) -> None:
    found = measured(tmp_path, embedder(), {"ids": np.arange(6, dtype=np.int64).reshape(1, 6)})

    assert found.difference is not None
    assert found.difference < TOLERANCE


def test_other_threads_are_timed_each_in_a_session_of_its_own(tmp_path: Path) -> None:
    found = measured(tmp_path, mlp(), {"x": np.ones((1, FEATURES), np.float32)}, threads=(1, 2))

    assert [point.threads for point in found.threads] == [1, 2]


@pytest.mark.parametrize("rows", [1, 2])
def test_a_fixed_batch_is_timed_once_and_the_reason_named(tmp_path: Path, rows: int) -> None:
    found = measured(tmp_path, linear(tensor("x", rows, 16), outputs=(rows, 8)), {"x": np.ones((rows, 16), np.float32)})

    assert [point.batch for point in found.points] == [1]
    assert "open first dimension" in str(found.unavailable)
    assert found.difference is None


def test_a_model_that_refuses_other_rows_has_no_curve_and_says_why(tmp_path: Path) -> None:
    reshape = [
        helper.make_node("Reshape", ["x", "shape"], ["r"], "reshape"),
        helper.make_node("MatMul", ["r", "w"], ["y"], "linear"),
    ]
    shape = helper.make_tensor("shape", onnx.TensorProto.INT64, [2], [1, 16])
    model = model_of(reshape, [tensor("x", "batch", 16)], [tensor("y", "batch", 8)], [shape, weight("w", 16, 8)])

    found = measured(tmp_path, model, {"x": np.ones((1, 16), np.float32)})

    assert found.points == ()
    assert "refuses a variation of the request" in str(found.unavailable)


def test_a_model_that_answers_with_names_has_a_whole_curve(tmp_path: Path) -> None:
    found = measured(tmp_path, names_and_scores(), {"x": np.eye(1, FEATURES, dtype=np.float32)})

    assert [point.batch for point in found.points] == [1, 2, 4, 8, 16, 32]
    assert found.difference is not None
    assert found.difference < TOLERANCE
    assert found.unavailable is None


class Odd:
    """A session whose answers nobody foresaw."""

    def __init__(self, session: Session, error: Exception) -> None:
        self.inputs, self.outputs, self._error = session.inputs, session.outputs, error

    def run(self, _feeds: Tensors) -> dict[str, Array]:
        raise self._error


@pytest.mark.parametrize("error", [TypeError("a list"), ValueError("ragged"), AttributeError("no dtype")], ids=repr)
def test_what_cannot_be_measured_is_a_reason_and_no_crash(tmp_path: Path, error: Exception) -> None:
    pack(write_model_dir(tmp_path / "model"), tmp_path / "m.hyperion", "none")
    engine = OnnxRuntimeEngine()
    with LocalPackages().open(tmp_path / "m.hyperion") as package:
        session = Odd(engine.load(package), error)

        found = measure_curve(engine, package, session, {"x": np.ones((1, FEATURES), np.float32)}, 1, ())

    assert found == Curve(unavailable=f"its answers cannot be timed and compared: {type(error).__name__}: {error}")


def test_the_measurement_ends_in_time(tmp_path: Path) -> None:
    found = measured(tmp_path, mlp(hidden=4096), {"x": np.ones((1, FEATURES), np.float32)})

    assert sum(point.run_ms for point in found.points) / 1000 < LONGEST_S


def test_the_checklist_measures_it_in_its_child(tmp_path: Path) -> None:
    from hyperion.adapters.sandbox.child_sandbox import ChildSandbox
    from hyperion.ports import InferenceJob

    path = tmp_path / "m.hyperion"
    pack(write_model_dir(tmp_path / "model"), path, "none")
    job = InferenceJob(path, [{"x": np.ones((1, FEATURES), np.float32)}], curve=True)

    found = ChildSandbox(tmp_path / "jobs").run(job).curve

    assert found is not None
    assert found.single_ms is not None
