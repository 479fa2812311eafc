"""What `version compare` reads from a package is what its graph computes with, in every scheme."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from tests.graphs import tied, twice
from tests.models import mlp
from tests.packaging import answers, cnn, embedder, load, pack, relative_error, write_model

from hyperion.adapters.files.package_files import LocalPackages
from hyperion.adapters.onnx.values import OnnxWeights

MODELS = {
    "linear": (mlp(hidden=96), ("fc1.weight",)),
    "convolutional": (cnn(), ("c1.weight", "fc.weight")),
    "embedding": (embedder(), ("table", "proj.weight")),
}
LEAST_DB = {"int8": 36.0, "w8": 40.0, "w4": 19.0, "static-int8": 36.0, "fp16": 70.0}


def inputs_of(model: onnx.ModelProto) -> dict[str, Any]:
    """A request that the model takes."""
    random = np.random.default_rng(0)
    found: dict[str, dict[str, Any]] = {
        "x": {"x": random.normal(size=(4, 32)).astype(np.float32)},
        "image": {"image": random.normal(size=(2, 3, 8, 8)).astype(np.float32)},
        "ids": {"ids": random.integers(0, 100, (2, 3))},
    }
    return found[model.graph.input[0].name]


def stored(package: Path, name: str) -> tuple[str, np.ndarray]:
    """Scheme and values of one weight."""
    with LocalPackages().open(package) as opened:
        weight = next(item for item in OnnxWeights().read(opened) if item.name == name)
        assert weight.rows is not None, weight.unavailable
        half = weight.shape[0] // 2
        return weight.scheme, np.concatenate([weight.rows(0, half), weight.rows(half, weight.shape[0])])


def original(model: onnx.ModelProto, name: str) -> np.ndarray:
    """As comparisons show it: a linear layer's as [inputs, outputs]."""
    values = next(numpy_helper.to_array(item) for item in model.graph.initializer if item.name == name)
    return values.T if name == "fc.weight" else values


def decibels(want: np.ndarray, have: np.ndarray) -> float:
    return float(10 * np.log10((want**2).sum() / ((want - have) ** 2).sum()))


@pytest.mark.parametrize("scheme", list(LEAST_DB))
@pytest.mark.parametrize("kind", list(MODELS))
def test_values_are_those_of_the_float_model_but_for_rounding(kind: str, scheme: str, tmp_path: Path) -> None:
    model, names = MODELS[kind]
    folder = write_model(tmp_path / "d", model)
    if scheme == "static-int8":
        (folder / "golden").mkdir()
        np.savez(folder / "golden" / "rows.npz", **inputs_of(model))
    pack(folder, tmp_path / "m.hyperion", scheme)

    for name in names:
        found, values = stored(tmp_path / "m.hyperion", name)

        assert values.shape == original(model, name).shape
        if found == "none":
            assert np.array_equal(values, original(model, name))
        else:
            assert found == scheme
            assert decibels(original(model, name), values) > LEAST_DB[scheme]


@pytest.mark.parametrize("gemm", [True, False])
@pytest.mark.parametrize("scheme", ["int8", "w4"])
def test_a_tied_table_is_read_as_a_table(scheme: str, gemm: bool, tmp_path: Path) -> None:
    model = tied(gemm=gemm)
    pack(write_model(tmp_path / "d", model), tmp_path / "m.hyperion", scheme)

    found, values = stored(tmp_path / "m.hyperion", "table")

    assert found == scheme
    assert decibels(original(model, "table"), values) > LEAST_DB[scheme]


@pytest.mark.parametrize("scheme", ["int8", "w4"])
def test_a_table_that_was_stored_twice_is_packaged_once_and_answers(scheme: str, tmp_path: Path) -> None:
    feeds = {"ids": np.arange(12, dtype=np.int64).reshape(3, 4)}
    summary = pack(write_model(tmp_path / "d", twice()), tmp_path / "m.hyperion", scheme)

    found = load(tmp_path / "m.hyperion").run(feeds)["y"]

    assert relative_error(answers(twice(), feeds)["y"], found) < 0.15
    assert summary.bytes_after < 0.2 * summary.bytes_before
