"""A real sentence encoder from texts: tokenizer, pooling and HTTP-free prediction against transformers' own figures."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from tests.downloads import minilm_folder  # noqa: F401 - a fixture
from tests.minilm import Bert, encoder
from tests.packaging import load, pack
from tests.processing_models import write_processed

from hyperion.domain.prediction import VectorPrediction

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SENTENCES = [
    "The cat sits on the mat.",
    "A feline rests on a rug.",
    "Quarterly profit rose 12 percent.",
    "How do I quantize a neural network to int8?",
]
COSINES = [0.5584, -0.0047, -0.0144]
"""Of the first sentence with the others, by transformers' BertModel, mean pooling and normalization."""


def token_vectors(folder: Path) -> onnx.ModelProto:
    """The encoder without its pooling: token_embeddings float32 [batch, seq, 384], as many exports have it."""
    bert = Bert(folder)
    bert.pooled()
    last = f"encoder.layer.{bert.config['num_hidden_layers'] - 1}.output.LayerNorm.out"
    kept = [node for node in bert.nodes if node.name.split("/")[0] not in _POOLING]
    bert.nodes = [*kept, helper.make_node("Identity", [last], ["token_embeddings"], "token_embeddings")]
    model = bert.model("token_embeddings", bert.config["hidden_size"])
    del model.graph.output[:]
    width = bert.config["hidden_size"]
    model.graph.output.append(
        helper.make_tensor_value_info("token_embeddings", TensorProto.FLOAT, ["batch", "seq", width])
    )
    return model


_POOLING = {"column", "weighted", "total", "count", "pooled_mean", "norm", "sentence_embedding"}


@pytest.mark.parametrize("pooled", [True, False], ids=["pooled by the graph", "pooled by the document"])
def test_texts_get_the_embeddings_that_transformers_gives(
    minilm_folder: Path,  # noqa: F811
    tmp_path: Path,
    pooled: bool,
) -> None:
    output: dict[str, Any] = {"kind": "vector", "output": "sentence_embedding"}
    if not pooled:
        output = {"kind": "vector", "output": "token_embeddings", "pooling": "mean", "normalize": True}
    text = {"kind": "text", "max_tokens": 256, "ids": "input_ids", "mask": "attention_mask"}
    model = encoder(minilm_folder) if pooled else token_vectors(minilm_folder)
    folder = write_processed(tmp_path / "minilm", model, {"input": text, "output": output})
    (folder / "assets").mkdir()
    shutil.copy(minilm_folder / "tokenizer.json", folder / "assets" / "tokenizer.json")
    pack(folder, tmp_path / "minilm.hyperion", "none")

    found = load(tmp_path / "minilm.hyperion").predict(SENTENCES, batch_rows=3)

    vectors = np.array([row.values for row in found if isinstance(row, VectorPrediction)])
    assert vectors.shape == (4, 384)
    assert (vectors[1:] @ vectors[0]).tolist() == pytest.approx(COSINES, abs=1e-4), json.dumps(vectors[0][:5].tolist())
