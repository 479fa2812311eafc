"""MiniLM-L6 with a linear head as one ONNX graph, written by hand from its Hugging Face directory (no torch)."""

from __future__ import annotations

import ast
import json
import unicodedata
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

MAX_TOKENS = 48


@dataclass
class Bert:
    """Builds the graph node by node; value names follow the weights' scopes, as exporters do."""

    folder: Path
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    initializers: dict[str, onnx.TensorProto] = field(default_factory=dict)

    def __post_init__(self) -> None:
        from safetensors.numpy import load_file

        self.weights = load_file(self.folder / "model.safetensors")
        self.config = json.loads((self.folder / "config.json").read_text())

    def add(self, operator: str, inputs: list[str], name: str, **attributes: object) -> str:
        self.nodes.append(helper.make_node(operator, inputs, [name], f"{name}/{operator}", **attributes))
        return name

    def constant(self, name: str, values: object) -> str:
        self.initializers[name] = numpy_helper.from_array(np.asarray(values), name)
        return name

    def linear(self, x: str, scope: str) -> str:
        """Gemm takes matrices only, so x·Wᵀ + b as MatMul and Add, the way torch exports a Linear on 3-d input."""
        matrix = self.constant(f"{scope}.weight", np.ascontiguousarray(self.weights[f"{scope}.weight"].T))
        product = self.add("MatMul", [x, matrix], f"{scope}.product")
        bias = self.constant(f"{scope}.bias", self.weights[f"{scope}.bias"])
        return self.add("Add", [product, bias], f"{scope}.out")

    def norm(self, x: str, scope: str) -> str:
        names = [self.constant(f"{scope}.{part}", self.weights[f"{scope}.{part}"]) for part in ("weight", "bias")]
        return self.add("LayerNormalization", [x, *names], f"{scope}.out", epsilon=self.config["layer_norm_eps"])

    def embeddings(self) -> str:
        scope = "embeddings"
        table = {
            part: self.constant(f"{scope}.{part}.weight", self.weights[f"{scope}.{part}.weight"])
            for part in ("word_embeddings", "position_embeddings")
        }
        kind = self.constant(f"{scope}.type", self.weights[f"{scope}.token_type_embeddings.weight"][0])
        words = self.add("Gather", [table["word_embeddings"], "input_ids"], f"{scope}.words")
        shape = self.add("Shape", ["input_ids"], f"{scope}.shape")
        length = self.add("Gather", [shape, self.constant("one", np.array(1))], f"{scope}.length")
        span = [self.constant("zero", np.array(0)), length, "one"]
        positions = self.add("Range", span, f"{scope}.positions")
        placed = self.add("Gather", [table["position_embeddings"], positions], f"{scope}.places")
        total = self.add("Add", [self.add("Add", [words, placed], f"{scope}.sum"), kind], f"{scope}.total")
        return self.norm(total, f"{scope}.LayerNorm")

    def heads(self, x: str, scope: str, order: list[int]) -> str:
        count = self.config["num_attention_heads"]
        shape = self.constant("split", np.array([0, 0, count, self.config["hidden_size"] // count]))
        return self.add("Transpose", [self.add("Reshape", [x, shape], f"{scope}.split")], f"{scope}.heads", perm=order)

    def attention(self, x: str, scope: str, bias: str) -> str:
        parts = {part: self.linear(x, f"{scope}.self.{part}") for part in ("query", "key", "value")}
        query = self.heads(parts["query"], f"{scope}.q", [0, 2, 1, 3])
        key = self.heads(parts["key"], f"{scope}.k", [0, 2, 3, 1])
        value = self.heads(parts["value"], f"{scope}.v", [0, 2, 1, 3])
        width = self.config["hidden_size"] // self.config["num_attention_heads"]
        scale = self.constant("scale", np.float32(1 / np.sqrt(width)))
        scores = self.add("Mul", [self.add("MatMul", [query, key], f"{scope}.qk"), scale], f"{scope}.scaled")
        shares = self.add("Softmax", [self.add("Add", [scores, bias], f"{scope}.masked")], f"{scope}.shares", axis=-1)
        mixed = self.add(
            "Transpose", [self.add("MatMul", [shares, value], f"{scope}.mix")], f"{scope}.back", perm=[0, 2, 1, 3]
        )
        joined = self.add("Reshape", [mixed, self.constant("join", np.array([0, 0, -1]))], f"{scope}.joined")
        return self.linear(joined, f"{scope}.output.dense")

    def block(self, x: str, index: int, bias: str) -> str:
        scope = f"encoder.layer.{index}"
        attended = self.add("Add", [self.attention(x, f"{scope}.attention", bias), x], f"{scope}.attended")
        x = self.norm(attended, f"{scope}.attention.output.LayerNorm")
        wide = self.linear(x, f"{scope}.intermediate.dense")
        root = self.constant("root2", np.float32(np.sqrt(2)))
        erf = self.add("Erf", [self.add("Div", [wide, root], f"{scope}.div")], f"{scope}.erf")
        plus = self.add("Add", [erf, self.constant("onef", np.float32(1))], f"{scope}.plus")
        gate = self.add("Mul", [plus, self.constant("half", np.float32(0.5))], f"{scope}.gate")
        narrow = self.linear(self.add("Mul", [wide, gate], f"{scope}.gelu"), f"{scope}.output.dense")
        return self.norm(self.add("Add", [narrow, x], f"{scope}.residual"), f"{scope}.output.LayerNorm")

    def pooled(self) -> str:
        """Mean over the mask, then length one."""
        mask = self.add("Cast", ["attention_mask"], "mask", to=TensorProto.FLOAT)
        turned = self.add("Sub", [self.constant("onef", np.float32(1)), mask], "turned")
        far = self.add("Mul", [turned, self.constant("far", np.float32(-1e9))], "far_away")
        bias = self.add("Unsqueeze", [far, self.constant("axes12", np.array([1, 2]))], "bias")
        x = self.embeddings()
        for index in range(self.config["num_hidden_layers"]):
            x = self.block(x, index, bias)
        column = self.add("Unsqueeze", [mask, self.constant("axis2", np.array([2]))], "column")
        total = self.add(
            "ReduceSum",
            [self.add("Mul", [x, column], "weighted"), self.constant("axis1", np.array([1]))],
            "total",
            keepdims=0,
        )
        count = self.add("ReduceSum", [column, "axis1"], "count", keepdims=0)
        mean = self.add("Div", [total, count], "pooled_mean")
        norm = self.add("ReduceL2", [mean], "norm", axes=[1], keepdims=1)
        return self.add("Div", [mean, norm], "sentence_embedding")

    def model(self, output: str, width: int) -> onnx.ModelProto:
        ids = [
            helper.make_tensor_value_info(n, TensorProto.INT64, ["batch", "seq"])
            for n in ("input_ids", "attention_mask")
        ]
        out = helper.make_tensor_value_info(output, TensorProto.FLOAT, ["batch", width])
        graph = helper.make_graph(self.nodes, "minilm", ids, [out], list(self.initializers.values()))
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def encoder(folder: Path) -> onnx.ModelProto:
    """input_ids, attention_mask int64 [batch, seq] → sentence_embedding float32 [batch, 384]."""
    bert = Bert(folder)
    return bert.model(bert.pooled(), bert.config["hidden_size"])


def classifier(folder: Path, matrix: np.ndarray, bias: np.ndarray) -> onnx.ModelProto:
    """The encoder with a Gemm on top: logits float32 [batch, classes]."""
    bert = Bert(folder)
    embedding = bert.pooled()
    names = [
        bert.constant("head.weight", matrix.astype(np.float32)),
        bert.constant("head.bias", bias.astype(np.float32)),
    ]
    return bert.model(bert.add("Gemm", [embedding, *names], "logits", transB=1), len(bias))


class WordPieces:
    """BERT's uncased tokenizer, from vocab.txt."""

    def __init__(self, vocabulary: Path) -> None:
        self.ids = {token: index for index, token in enumerate(vocabulary.read_text(encoding="utf-8").splitlines())}

    def __call__(self, texts: list[str]) -> dict[str, np.ndarray]:
        """Ids and mask, padded to the longest text."""
        rows = [[self.ids["[CLS]"], *self.pieces(text)[: MAX_TOKENS - 2], self.ids["[SEP]"]] for text in texts]
        ids = np.zeros((len(rows), max(map(len, rows))), np.int64)
        mask = np.zeros_like(ids)
        for index, row in enumerate(rows):
            ids[index, : len(row)] = row
            mask[index, : len(row)] = 1
        return {"input_ids": ids, "attention_mask": mask}

    def pieces(self, text: str) -> list[int]:
        plain = "".join(c for c in unicodedata.normalize("NFD", text.lower()) if unicodedata.category(c) != "Mn")
        spaced = "".join(f" {c} " if unicodedata.category(c)[0] in "PS" else c for c in plain)
        return [piece for word in spaced.split() for piece in self.word(word)]

    def word(self, word: str) -> list[int]:
        found: list[int] = []
        start = 0
        while start < len(word):
            end = len(word)
            while end > start and self.token(word, start, end) not in self.ids:
                end -= 1
            if end == start:
                return [self.ids["[UNK]"]]
            found.append(self.ids[self.token(word, start, end)])
            start = end
        return found

    @staticmethod
    def token(word: str, start: int, end: int) -> str:
        return ("##" if start else "") + word[start:end]


def documentation(package: Path, count: int) -> list[str]:
    """First sentences of a Python package's docstrings, in a fixed order, each once: real English of one subject."""
    found: dict[str, None] = {}
    for path in sorted(package.rglob("*.py")):
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"))
        except (SyntaxError, UnicodeDecodeError):
            continue
        for item in ast.walk(tree):
            if isinstance(item, ast.FunctionDef | ast.ClassDef) and (text := ast.get_docstring(item)):
                sentence = " ".join(text.split("\n\n")[0].split())
                if 6 <= len(sentence.split()) <= 40:
                    found[sentence] = None
    step = max(1, len(found) // count)
    return list(found)[::step][:count]


def batches(texts: list[str], size: int = 16) -> list[list[str]]:
    edges = [*range(0, len(texts), size), len(texts)]
    return [texts[start:end] for start, end in pairwise(edges)]
