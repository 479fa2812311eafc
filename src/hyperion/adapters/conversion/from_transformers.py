"""A Hugging Face directory → ONNX, through transformers and torch.export; runs in the converting child only.

Architectures are transformers' own. Code that a directory brings (``auto_map``) is never run.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hyperion.adapters.conversion.converted_model import ConvertedModel
from hyperion.adapters.conversion.hugging_face_files import TOKENIZER, max_tokens_of, read_json, task_of
from hyperion.adapters.conversion.sentence_pooling import Pooling, SentencePooling, sentence_pooling
from hyperion.adapters.conversion.torch_export import OPSET, largest_difference, open_session, save_program
from hyperion.domain.processing import ClassesOutput, Processing, TextInput, TokensOutput, VectorOutput
from hyperion.errors import ModelSourceError
from hyperion.ports.conversion import SourceTask

if TYPE_CHECKING:
    from torch import nn

LIBRARIES = ("transformers", "torch", "onnxscript")
EMBEDDING_OUTPUT = "sentence_embedding"
"""Not ``embedding``: a name that values inside the graph have too is refused by the engine."""
LOGITS_OUTPUT = "logits"
SAMPLES = (
    ("A feline rests on a rug.",),
    ("Quarterly profit rose 12 percent, and nobody at the bank in Zürich was surprised.", "OK", "¿Qué? 東京 🙂"),
)
"""Batches of different sizes and lengths, so that the exported graph shows that both are free."""


def convert_transformers(source: Path, asked: str | None, made: ConvertedModel) -> None:
    """Load a model, export it with free batch and sequence, and compare both on sample texts.

    Raises:
        ModelSourceError: Its task is not supported or not stated, its architecture is none of transformers' own, it
            has no tokenizer, or it answers otherwise after conversion.
    """
    import torch

    torch.manual_seed(0)
    config = read_json(source / "config.json")
    task = task_of(source, config, asked)
    if "auto_map" in config:
        made.notes.append(
            "config.json names code of its own (auto_map), which was not run: the architecture is that of transformers"
        )
    tokenizer = _tokenizer(source)
    pooling = sentence_pooling(source) if task == "embedding" else SentencePooling()
    model = _model(source, task)
    made.came_from(f"Hugging Face {type(model).__name__}", LIBRARIES)
    network = _network(model, task, pooling)
    inputs = _inputs(model)
    output = EMBEDDING_OUTPUT if task == "embedding" else LOGITS_OUTPUT
    _export(network, inputs, output, made.model)
    share = _compare(network, inputs, tokenizer, made.model, source)
    made.notes.append(f"on sample texts it differs from PyTorch by at most {share:.1g} of the largest output")
    if task == "embedding":
        said = "as modules.json says" if pooling.stated else "the usual way, for the folder has no modules.json"
        made.notes.append(f"embeddings: {_words(pooling)}, {said}")
    _write_tokenizer(source, tokenizer, made)
    text = TextInput(
        kind="text",
        max_tokens=max_tokens_of(source, config, pooling.max_tokens),
        pad_token=tokenizer.pad_token,
        ids="input_ids",
        mask="attention_mask",
        types="token_type_ids" if "token_type_ids" in inputs else None,
    )
    answer = _output(model, task, output)
    made.write_processing(Processing(input=text, output=answer))
    made.write_card()


def _model(source: Path, task: SourceTask) -> Any:
    import torch
    import transformers

    loader = {
        "embedding": transformers.AutoModel,
        "sequence-classification": transformers.AutoModelForSequenceClassification,
        "token-classification": transformers.AutoModelForTokenClassification,
    }[task]
    try:
        return loader.from_pretrained(
            source, local_files_only=True, trust_remote_code=False, torch_dtype=torch.float32,
            use_safetensors=any(source.glob("*.safetensors")), attn_implementation="eager",
        ).eval()  # fmt: skip
    except (ValueError, OSError, KeyError) as error:
        raise ModelSourceError(
            f"{source}: transformers cannot load it: {' '.join(str(error).split())[:300]}",
            hint="an architecture that only the directory's own code knows is not run; export model.onnx where it "
            "was made",
            code="model_source.not_convertible",
        ) from error


def _tokenizer(source: Path) -> Any:
    import transformers

    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(source, local_files_only=True, trust_remote_code=False)
    except (ValueError, OSError, KeyError, ImportError) as error:
        raise ModelSourceError(
            f"{source}: has no tokenizer that transformers can load: {' '.join(str(error).split())[:300]}",
            hint=f"put {TOKENIZER} beside config.json: tokenizer.save_pretrained writes it",
            code="model_source.no_tokenizer",
        ) from error
    if not tokenizer.is_fast or tokenizer.pad_token is None:
        lacks = "a pad token" if tokenizer.is_fast else f"the form of {TOKENIZER} (a fast tokenizer)"
        raise ModelSourceError(
            f"{source}: its tokenizer lacks {lacks}",
            hint="convert it with transformers and save it with save_pretrained",
            code="model_source.no_tokenizer",
        )
    return tokenizer


def _write_tokenizer(source: Path, tokenizer: Any, made: ConvertedModel) -> None:
    given = source / TOKENIZER
    data = given.read_bytes() if given.is_file() else tokenizer.backend_tokenizer.to_str(pretty=True).encode()
    made.write_asset(TOKENIZER, data)


def _inputs(model: Any) -> tuple[str, ...]:
    """The model's inputs that a tokenizer fills, in order."""
    taken = inspect.signature(model.forward).parameters
    typed = "token_type_ids" in taken and (model.config.to_dict().get("type_vocab_size") or 0) > 1
    return ("input_ids", "attention_mask", *(["token_type_ids"] if typed else []))


def _network(model: Any, task: SourceTask, pooling: SentencePooling) -> nn.Module:
    """The model with its inputs as positional tensors, and one tensor as its output."""
    from torch import nn

    class Exported(nn.Module):  # type: ignore[misc] # torch is no dependency, so its types are unknown here
        """Its one attribute gives every weight's name its first part."""

        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: Any, attention_mask: Any, token_type_ids: Any = None) -> Any:
            typed = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
            first = self.model(input_ids=input_ids, attention_mask=attention_mask, return_dict=False, **typed)[0]
            if task != "embedding":
                return first
            vector = _pooled(first, attention_mask, pooling.pooling)
            return nn.functional.normalize(vector, p=2, dim=1) if pooling.normalized else vector

    return Exported().eval()


def _pooled(tokens: Any, mask: Any, how: Pooling) -> Any:
    """One vector [batch, width] of token vectors [batch, sequence, width]; padding, on the right, does not count."""
    import torch

    if how == "first":
        return tokens[:, 0]
    weight = mask.unsqueeze(-1).to(tokens.dtype)
    if how == "mean":
        return (tokens * weight).sum(1) / weight.sum(1).clamp(min=1e-9)
    if how == "max":
        return tokens.masked_fill(weight == 0, torch.finfo(tokens.dtype).min).max(1).values
    last = (mask.sum(1) - 1).clamp(min=0)
    return tokens[torch.arange(tokens.shape[0]), last]


def _export(network: nn.Module, inputs: tuple[str, ...], output: str, model: Path) -> None:
    import torch

    examples = {name: torch.ones(2, 8, dtype=torch.int64) for name in inputs}
    if "token_type_ids" in examples:
        examples["token_type_ids"] = torch.zeros(2, 8, dtype=torch.int64)
    program = torch.onnx.export(
        network, (), kwargs=examples, dynamo=True, opset_version=OPSET, input_names=list(inputs),
        output_names=[output], dynamic_shapes={name: {0: "batch", 1: "sequence"} for name in inputs}, verbose=False,
    )  # fmt: skip
    save_program(program, model)


def _compare(network: nn.Module, inputs: tuple[str, ...], tokenizer: Any, model: Path, source: Path) -> float:
    import torch

    session = open_session(model)
    shares = []
    for texts in SAMPLES:
        encoded = tokenizer(list(texts), padding=True, truncation=True, max_length=32, return_tensors="pt")
        feeds = {name: encoded.get(name, torch.zeros_like(encoded["input_ids"])) for name in inputs}
        with torch.no_grad():
            expected = network(**feeds).numpy()
        arrays = {name: tensor.numpy() for name, tensor in feeds.items()}
        shares.append(largest_difference(session, arrays, [expected], source))
    return max(shares)


def _output(model: Any, task: SourceTask, output: str) -> ClassesOutput | TokensOutput | VectorOutput:
    if task == "embedding":
        return VectorOutput(kind="vector", output=output)
    labels = tuple(str(model.config.id2label[index]) for index in range(model.config.num_labels))
    if task == "token-classification":
        outside = "O" if "O" in labels else labels[0]
        return TokensOutput(kind="tokens", output=output, labels=labels, outside=outside)
    if len(labels) < 2:
        return VectorOutput(kind="vector", output=output)
    several = model.config.problem_type == "multi_label_classification"
    return ClassesOutput(kind="classes", output=output, labels=labels, activation="sigmoid" if several else "softmax")


def _words(pooling: SentencePooling) -> str:
    made = {"mean": "mean over the tokens", "first": "the first token", "last": "the last token", "max": "maximum"}
    return f"{made[pooling.pooling]}, {'L2 norm' if pooling.normalized else 'no norm'}"
