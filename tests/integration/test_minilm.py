"""A real transformer (INPUTS.md, recipe c): 22 M parameters, embeddings that dominate, a linear head."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import onnx
import pytest
from tests.downloads import minilm_folder  # noqa: F401 - a fixture
from tests.minilm import WordPieces, batches, classifier, documentation, encoder
from tests.packaging import answers, load, pack, write_model

from hyperion.ports import Array
from hyperion.usecases.load import LoadedModel

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

SENTENCES = [
    "The cat sits on the mat.",
    "A feline rests on a rug.",
    "Quarterly profit rose 12 percent.",
    "How do I quantize a neural network to int8?",
]


def run_all(model: LoadedModel | Path, feeds: list[dict[str, Array]], name: str) -> np.ndarray:
    if isinstance(model, Path):
        import onnxruntime

        session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        return np.concatenate([session.run([name], feed)[0] for feed in feeds])
    return np.concatenate([model.run(feed)[name] for feed in feeds])


def cosines(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return (one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)


def sentences() -> tuple[list[str], np.ndarray]:
    """Four subjects: numpy, scikit-learn, onnx, the standard library's network code."""
    import sklearn

    folders = [
        Path(np.__file__).parent,
        Path(sklearn.__file__).parent,
        Path(onnx.__file__).parent,
        Path(asyncio.__file__).parent,
    ]
    texts = [documentation(folder, 120) for folder in folders]
    label = np.concatenate([np.full(len(part), index) for index, part in enumerate(texts)])
    return [text for part in texts for text in part], label


def test_embeddings_survive_packaging(minilm_folder: Path, tmp_path: Path) -> None:  # noqa: F811
    model = encoder(minilm_folder)
    feeds = WordPieces(minilm_folder / "vocab.txt")(SENTENCES)
    wanted = answers(model, feeds)["sentence_embedding"]
    # What transformers' own BertModel gives for these sentences.
    assert wanted[0] @ wanted[1:].T == pytest.approx([0.5584, -0.0047, -0.0144], abs=2e-4)
    folder = write_model(tmp_path / "d", model)

    none = pack(folder, tmp_path / "none.hyperion", "none")
    int8 = pack(folder, tmp_path / "int8.hyperion", "int8")
    w4 = pack(folder, tmp_path / "w4.hyperion", "w4")

    assert [layer.name for layer in none.layers] == ["before", *(f"encoder.layer.{index}" for index in range(6))]
    assert [layer.name for layer in int8.layers] == [layer.name for layer in none.layers]
    assert np.array_equal(load(tmp_path / "none.hyperion").run(feeds)["sentence_embedding"], wanted)
    assert cosines(load(tmp_path / "int8.hyperion").run(feeds)["sentence_embedding"], wanted).min() > 0.97
    assert cosines(load(tmp_path / "w4.hyperion").run(feeds)["sentence_embedding"], wanted).min() > 0.9
    assert int8.bytes_after <= 0.26 * int8.bytes_before
    assert w4.bytes_after <= 0.17 * w4.bytes_before


def test_a_classifier_keeps_its_answers(minilm_folder: Path, tmp_path: Path) -> None:  # noqa: F811
    from sklearn.linear_model import LogisticRegression

    texts, label = sentences()
    tokens = WordPieces(minilm_folder / "vocab.txt")
    feeds = [tokens(part) for part in batches(texts)]
    onnx.save(encoder(minilm_folder), tmp_path / "encoder.onnx")
    embedded = run_all(tmp_path / "encoder.onnx", feeds, "sentence_embedding")
    train = np.arange(len(texts)) % 2 == 0
    head = LogisticRegression(C=10, max_iter=2000).fit(embedded[train], label[train])
    folder = write_model(tmp_path / "d", classifier(minilm_folder, head.coef_, head.intercept_))
    wanted = run_all(folder / "model.onnx", feeds, "logits").argmax(axis=1)

    summary = pack(folder, tmp_path / "m.hyperion", "int8")

    found = run_all(load(tmp_path / "m.hyperion"), feeds, "logits").argmax(axis=1)
    in_float, quantized = ((answer[~train] == label[~train]).mean() for answer in (wanted, found))
    assert in_float > 0.75
    assert (found == wanted).mean() > 0.97
    assert quantized == pytest.approx(in_float, abs=0.02)
    assert summary.bytes_after <= 0.26 * summary.bytes_before
    assert summary.scheme == "int8"
