"""Weights out of packages as the float model has them: tables, half floats, and what was quantized at its source."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tests.fakes.checks_host import checks_host, packaged
from tests.fakes.reporter import CollectingReporter

from hyperion.domain.comparison import VersionComparison
from hyperion.domain.difference import WeightDifference
from hyperion.domain.scheme import QuantizeChoice
from hyperion.ports import Host
from hyperion.usecases.compare import compare_versions

ROWS, COLUMNS = 96, 64


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return checks_host(tmp_path)


def model(
    nodes: Sequence[onnx.NodeProto], *weights: onnx.TensorProto, dtype: int = TensorProto.FLOAT
) -> onnx.ModelProto:
    """One input ``x`` of any shape [batch, n], one float output ``y``."""
    width = ROWS if dtype == TensorProto.FLOAT else 3
    graph = helper.make_graph(
        list(nodes), "one", [helper.make_tensor_value_info("x", dtype, ["batch", width])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)], list(weights),
    )  # fmt: skip
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    made.ir_version = 9
    return made


def values(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(ROWS, COLUMNS)).astype(np.float32)


def table() -> onnx.ModelProto:
    node = helper.make_node("Gather", ["table", "x"], ["y"], name="embed")
    return model([node], numpy_helper.from_array(values(), "table"), dtype=TensorProto.INT64)


def compare(host: Host, a: Path, b: Path) -> VersionComparison:
    return compare_versions(host, a, b, CollectingReporter())


def weights(comparison: VersionComparison) -> dict[str, WeightDifference]:
    return {weight.name: weight for layer in comparison.layers for weight in layer.weights}


@pytest.mark.parametrize(("scheme", "least_db"), [("int8", 30.0), ("w4", 15.0)])
def test_a_table_of_rows(host: Host, tmp_path: Path, scheme: QuantizeChoice, least_db: float) -> None:
    a = packaged(tmp_path, host, "float", labels=None, golden=False, model=table())
    b = packaged(tmp_path, host, "few", labels=None, golden=False, model=table(), quantize=scheme)

    (weight,) = weights(compare(host, a, b)).values()

    assert weight.after is not None
    assert (weight.after.scheme, weight.after.shape) == (scheme, (ROWS, COLUMNS))
    assert weight.difference.sqnr_db is not None
    assert weight.difference.sqnr_db > least_db


def test_a_gemms_factor_and_its_turned_weight_count_as_its_answers_see_them(host: Host, tmp_path: Path) -> None:
    plain = helper.make_node("MatMul", ["x", "w"], ["y"], name="linear")
    turned = helper.make_node("Gemm", ["x", "w"], ["y"], name="linear", transB=1, alpha=0.5)
    one = model([plain], numpy_helper.from_array(values(), "w"))
    two = model([turned], numpy_helper.from_array(np.ascontiguousarray(2 * values().T), "w"))
    a = packaged(tmp_path, host, "plain", labels=None, golden=False, model=one)
    b = packaged(tmp_path, host, "turned", labels=None, golden=False, model=two, version="1.0.1")

    (weight,) = weights(compare(host, a, b)).values()

    assert weight.difference.max_abs == 0


def test_bfloat16_is_read_as_the_numbers_that_it_stands_for(host: Host, tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Cast", ["w"], ["f"], name="widen", to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["x", "f"], ["y"], name="linear"),
    ]
    upper = (values().view(np.uint32) >> 16).astype(np.uint16)
    half = helper.make_tensor("w", TensorProto.BFLOAT16, [ROWS, COLUMNS], upper.tobytes(), raw=True)
    single = numpy_helper.from_array(values(), "w")
    a = packaged(tmp_path, host, "single", labels=None, golden=False, model=model(nodes, single))
    b = packaged(tmp_path, host, "half", labels=None, golden=False, model=model(nodes, half), version="1.0.1")

    (weight,) = weights(compare(host, a, b)).values()

    assert weight.after is not None
    assert (weight.after.dtype, weight.after.bits) == ("BF16", 16)
    cut = (upper.astype(np.uint32) << 16).view(np.float32)
    assert weight.difference.max_abs == pytest.approx(float(np.abs(cut - values()).max()))


def test_what_was_quantized_at_its_source_has_no_figures_but_a_reason(host: Host, tmp_path: Path) -> None:
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["w"], name="dequantize"),
        helper.make_node("MatMul", ["x", "w"], ["y"], name="linear"),
    ]

    def kept(shift: int) -> onnx.ModelProto:
        integers = (np.clip(np.rint(values() * 30), -100, 100) + shift).astype(np.int8)
        scale, zero = np.array(1 / 30, np.float32), np.array(0, np.int8)
        named = {"q": integers, "scale": scale, "zero": zero}
        return model(nodes, *(numpy_helper.from_array(array, name) for name, array in named.items()))

    a = packaged(tmp_path, host, "a", labels=None, golden=False, model=kept(0), quantize="auto")
    b = packaged(tmp_path, host, "b", labels=None, golden=False, model=kept(1), quantize="auto", version="1.0.1")

    weight = weights(compare(host, a, b))["q"]

    assert weight.difference.max_abs is None
    assert "quantized before packaging" in str(weight.difference.unavailable)
