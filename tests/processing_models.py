"""Models that take raw inputs: a real tokenizer of a few sentences, small graphs, config/processing.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.packaging import model_of, tensor

SENTENCES = {
    "animals": ("The cat sat on the mat and watched the rain.", "A dog ran after the bird in our garden."),
    "markets": ("Stocks fell sharply in London today as oil rose.", "Wheat and corn prices rose after the dry summer."),
    "travel": ("Anna Smith flew from Berlin to New York on Monday.", "We took the night train to the sea."),
}
"""By topic; all that the classifier of topics learns from."""
TOPICS = tuple(SENTENCES)
ENTITIES = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")


def _vocabulary() -> dict[str, int]:
    """Special tokens, every letter at the beginning and within a word, and every word of the sentences."""
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    words = sorted({word.strip(".").lower() for topic in SENTENCES.values() for text in topic for word in text.split()})
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", ".", ",", *letters, *(f"##{letter}" for letter in letters), *words]
    return {token: number for number, token in enumerate(dict.fromkeys(tokens))}


VOCABULARY = len(_vocabulary())


def tokenizer_json(**changes: Any) -> str:
    """A WordPiece tokenizer as BERT has it: lower case, [CLS] and [SEP], segment ids."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    tokenizer = Tokenizer(models.WordPiece(_vocabulary(), unk_token="[UNK]"))  # noqa: S106 - a token of a vocabulary
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return json.dumps(json.loads(tokenizer.to_str()) | changes)


def topic_table() -> np.ndarray:
    """How much each token speaks for each topic: log-probabilities of naive Bayes, float64 [vocabulary, topics]."""
    vocabulary = _vocabulary()
    counts = np.full((VOCABULARY, len(TOPICS)), 0.1)
    for topic, texts in enumerate(SENTENCES.values()):
        for word in " ".join(texts).replace(".", "").lower().split():
            counts[vocabulary[word], topic] += 1
    scores: np.ndarray = np.log(counts / counts.sum(axis=1, keepdims=True))
    return scores


def reader(classes: int, *, per_token: bool = False, table: np.ndarray | None = None) -> onnx.ModelProto:
    """Token ids, mask and segment ids [batch, sequence] → scores [batch, classes] or [batch, sequence, classes]."""
    random = np.random.default_rng(0)
    table = random.normal(size=(VOCABULARY, classes)) if table is None else table
    segments, head = 0.1 * random.normal(size=(2, classes)), 4 * np.eye(classes)
    node = helper.make_node
    nodes = [
        node("Gather", ["table", "input_ids"], ["words"], "words"),
        node("Gather", ["segments", "token_type_ids"], ["kinds"], "kinds"),
        node("Add", ["words", "kinds"], ["hidden"], "hidden"),
        node("Cast", ["attention_mask"], ["weights"], "weights", to=TensorProto.FLOAT),
        node("Unsqueeze", ["weights", "last"], ["column"], "column"),
        node("Mul", ["hidden", "column"], ["seen"], "seen"),
    ]
    if per_token:
        nodes.append(node("MatMul", ["seen", "head.weight"], ["logits"], "head"))
    else:
        nodes += [
            node("ReduceSum", ["seen", "axis"], ["sums"], "sums", keepdims=0),
            node("ReduceSum", ["column", "axis"], ["counts"], "counts", keepdims=0),
            node("Div", ["sums", "counts"], ["mean"], "mean"),
            node("MatMul", ["mean", "head.weight"], ["logits"], "head"),
        ]
    shape: tuple[int | str, ...] = ("batch", "sequence", classes) if per_token else ("batch", classes)
    return model_of(
        nodes,
        [
            tensor(name, "batch", "sequence", kind=TensorProto.INT64)
            for name in ("input_ids", "attention_mask", "token_type_ids")
        ],
        [tensor("logits", *shape)],
        [
            numpy_helper.from_array(table.astype(np.float32), "table"),
            numpy_helper.from_array(segments.astype(np.float32), "segments"),
            numpy_helper.from_array(head.astype(np.float32), "head.weight"),
            numpy_helper.from_array(np.array([-1]), "last"),
            numpy_helper.from_array(np.array([1]), "axis"),
        ],
    )


TEXT_INPUT: dict[str, Any] = {
    "kind": "text", "max_tokens": 24, "ids": "input_ids", "mask": "attention_mask", "types": "token_type_ids",
}  # fmt: skip
CLASSES_OUTPUT: dict[str, Any] = {
    "kind": "classes", "output": "logits", "labels": list(TOPICS), "activation": "softmax",
}  # fmt: skip
COLUMNS: list[dict[str, Any]] = [
    {"name": "age", "offset": 40.0, "scale": 12.5},
    {"name": "colour", "kind": "category", "categories": ["red", "green", "blue"]},
    {"name": "income", "scale": 1000.0, "missing": 2500.0},
]


def text_dir(
    folder: Path, *, model: onnx.ModelProto | None = None, output: dict[str, Any] | None = None, **text: Any
) -> Path:
    """A model directory with tokenizer and config/processing.json, by default a classifier of three topics."""
    document = {"input": TEXT_INPUT | text, "output": output or CLASSES_OUTPUT}
    write_processed(folder, reader(len(TOPICS), table=topic_table()) if model is None else model, document)
    (folder / "assets").mkdir(exist_ok=True)
    (folder / "assets" / "tokenizer.json").write_text(tokenizer_json())
    return folder


def scorer(columns: int = 3, classes: int = 2) -> onnx.ModelProto:
    """Rows [batch, columns] → probabilities [batch, classes], and a label of its own."""
    weight = np.linspace(-1, 1, columns * classes).reshape(columns, classes)
    node = helper.make_node
    return model_of(
        [
            node("MatMul", ["row", "weight"], ["scores"], "linear"),
            node("Softmax", ["scores"], ["probabilities"], "softmax", axis=-1),
            node("ArgMax", ["probabilities"], ["label"], "label", axis=1, keepdims=0),
        ],
        [tensor("row", "batch", columns)],
        [tensor("label", "batch", kind=TensorProto.INT64), tensor("probabilities", "batch", classes)],
        [numpy_helper.from_array(weight.astype(np.float32), "weight")],
    )


def table_dir(folder: Path, *, columns: list[dict[str, Any]] | None = None) -> Path:
    """A model directory that takes rows of age, colour and income."""
    document = {
        "input": {"kind": "table", "input": "row", "columns": columns or COLUMNS},
        "output": {"kind": "classes", "output": "probabilities", "labels": ["no", "yes"]},
    }
    return write_processed(folder, scorer(len(columns or COLUMNS)), document)


def write_processed(folder: Path, model: onnx.ModelProto, document: dict[str, Any]) -> Path:
    """model.onnx, hyperion.json and config/processing.json."""
    (folder / "config").mkdir(parents=True)
    onnx.save(model, folder / "model.onnx")
    card = {"name": folder.name, "version": "1.0.0", "description": "d", "author": "a", "license": "MIT"}
    (folder / "hyperion.json").write_text(json.dumps(card))
    (folder / "config" / "processing.json").write_text(json.dumps(document))
    return folder
