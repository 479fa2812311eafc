"""Models are read without their large weights; nothing about them may change by that."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from tests.models import expected, inputs, mlp
from tests.packaging import answers, load, model_of, pack, tensor, weight, write_model

from hyperion.adapters.onnx.skeleton import IN_FILE, LARGE_BYTES, skeleton_of
from hyperion.adapters.onnx.source import read_source
from hyperion.errors import ModelSourceError

LARGE = mlp(hidden=2 * LARGE_BYTES // 128)


def test_the_skeleton_and_its_ranges_are_the_whole_model() -> None:
    raw = LARGE.SerializeToString()

    skeleton = skeleton_of(memoryview(raw))

    assert skeleton is not None
    assert len(skeleton.message) < len(raw) - LARGE_BYTES
    model = onnx.load_from_string(skeleton.message)
    for left in model.graph.initializer:
        where = {item.key: item.value for item in left.external_data}
        if where:
            assert where["location"] == IN_FILE
            offset, size = int(where["offset"]), int(where["length"])
            left.ClearField("external_data")
            left.ClearField("data_location")
            left.raw_data = raw[offset : offset + size]
    assert model == LARGE


def test_small_models_are_read_whole() -> None:
    assert skeleton_of(memoryview(mlp().SerializeToString())) is None


@given(st.binary(max_size=200))
def test_other_bytes_have_no_skeleton(raw: bytes) -> None:
    assert skeleton_of(memoryview(raw)) is None


@given(st.data())
def test_damaged_models_have_a_sound_skeleton_or_none(data: st.DataObject) -> None:
    raw = bytearray(LARGE.SerializeToString())
    raw[data.draw(st.integers(0, 400))] ^= data.draw(st.integers(1, 255))

    skeleton = skeleton_of(memoryview(raw))

    for offset, size in skeleton.ranges if skeleton else ():
        assert 0 <= offset <= offset + size <= len(raw)


@pytest.mark.parametrize("quantize", ["none", "int8"])
@pytest.mark.parametrize("form", ["plain", "symbolic link", "hard link"])
def test_answers_do_not_depend_on_how_the_file_is_reached(quantize: str, form: str, tmp_path: Path) -> None:
    folder = write_model(tmp_path / "d", LARGE)
    if form != "plain":
        (folder / "model.onnx").rename(tmp_path / "stored")
        link = os.symlink if form == "symbolic link" else os.link
        link(tmp_path / "stored", folder / "model.onnx")

    pack(folder, tmp_path / "m.hyperion", quantize)

    found = load(tmp_path / "m.hyperion").run({"x": inputs()})["probabilities"]
    if quantize == "none":
        assert np.array_equal(found, expected(LARGE, inputs()))
    else:
        assert np.abs(found - expected(LARGE, inputs())).max() < 0.05


def test_weights_read_from_the_file_are_those_of_the_model(tmp_path: Path) -> None:
    source = read_source(write_model(tmp_path / "d", LARGE) / "model.onnx")

    for found, wanted in zip(source.model.graph.initializer, LARGE.graph.initializer, strict=True):
        assert np.array_equal(source.array(found), numpy_helper.to_array(wanted))


@pytest.mark.parametrize("as_output", [False, True])
def test_large_constants_stay_in_the_file_where_they_become_weights(as_output: bool, tmp_path: Path) -> None:
    held = weight("held", 256, 256)
    model = model_of(
        [
            helper.make_node("Constant", [], ["w"], value=held),
            helper.make_node("MatMul", ["x", "w"], ["y"]),
        ],
        [tensor("x", "n", 256)],
        [tensor("y", "n", 256), *([tensor("w", 256, 256)] if as_output else [])],
        [],
    )

    source = read_source(write_model(tmp_path / "d", model) / "model.onnx")

    assert skeleton_of(memoryview(model.SerializeToString())) is not None
    found = source.model.graph.node[0].attribute[0].t if as_output else source.model.graph.initializer[0]
    assert found.HasField("raw_data") == as_output
    assert np.array_equal(source.array(found), numpy_helper.to_array(held))


def test_large_weights_in_branches_stay_in_the_file(tmp_path: Path) -> None:
    def branch(name: str, seed: int) -> onnx.GraphProto:
        return helper.make_graph(
            [helper.make_node("MatMul", ["x", f"{name}.weight"], [f"{name}_y"])], name, [],
            [tensor(f"{name}_y", "n", 256)], [weight(f"{name}.weight", 256, 256, seed=seed)],
        )  # fmt: skip

    choice = helper.make_node("If", ["flag"], ["y"], then_branch=branch("then", 1), else_branch=branch("else", 2))
    model = model_of(
        [choice], [tensor("x", "n", 256), tensor("flag", kind=TensorProto.BOOL)], [tensor("y", "n", 256)], []
    )
    folder = write_model(tmp_path / "d", model)
    feeds = {"x": np.ones((2, 256), np.float32), "flag": np.array(True)}

    source = read_source(folder / "model.onnx")
    pack(folder, tmp_path / "m.hyperion", "none")

    assert source.model.ByteSize() < LARGE_BYTES
    assert np.array_equal(load(tmp_path / "m.hyperion").run(feeds)["y"], answers(model, feeds)["y"])


def test_a_file_that_claims_to_have_weights_left_in_itself_is_refused(tmp_path: Path) -> None:
    model = onnx.ModelProto.FromString(LARGE.SerializeToString())
    claim = model.graph.initializer.add(name="claim", data_type=TensorProto.FLOAT, dims=[4096])
    claim.data_location = TensorProto.EXTERNAL
    for key, value in (("location", IN_FILE), ("offset", "999999999"), ("length", "16384")):
        claim.external_data.add(key=key, value=value)
    model.graph.node.add(op_type="Identity", input=["claim"], output=["copy"])

    with pytest.raises(ModelSourceError, match="beyond the end"):
        read_source(write_model(tmp_path / "d", model) / "model.onnx")
