"""Models are read without their large weights; nothing about them may change by that."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import numpy_helper
from tests.models import expected, inputs, mlp
from tests.packaging import load, pack, write_model

from hyperion.adapters.onnx_skeleton import LARGE_BYTES, skeleton_of
from hyperion.adapters.onnx_source import read_source

LARGE = mlp(hidden=2 * LARGE_BYTES // 128)


def test_the_skeleton_and_its_ranges_are_the_whole_model() -> None:
    raw = LARGE.SerializeToString()

    skeleton = skeleton_of(memoryview(raw))

    assert skeleton is not None
    assert len(skeleton.message) < len(raw) - LARGE_BYTES
    model = onnx.load_from_string(skeleton.message)
    for position, (offset, size) in skeleton.ranges.items():
        model.graph.initializer[position].raw_data = raw[offset : offset + size]
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

    for offset, size in skeleton.ranges.values() if skeleton else ():
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
