"""What the JSON files of a Hugging Face directory say of its model; nothing of it is run, and no library is needed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from hyperion.errors import ModelSourceError
from hyperion.ports.conversion import SourceTask

TOKENIZER = "tokenizer.json"
DEFAULT_MAX_TOKENS = 512
_GENERATORS = ("ForCausalLM", "ForConditionalGeneration", "LMHeadModel")
_SHIFTED = ("roberta", "xlm-roberta", "camembert", "mpnet")
"""Architectures that count positions from the padding index on, and so have two fewer than they say."""


def task_of(source: Path, config: Mapping[str, Any], asked: str | None) -> SourceTask:
    """What the person asks, else what the architecture's name says; a bare network gives embeddings.

    Raises:
        ModelSourceError: It generates text, or is made for something else (code ``model_source.task``).
    """
    if asked is not None:
        return next(task for task in get_args(SourceTask) if task == asked)
    stated = config.get("architectures")
    named = [str(name) for name in stated] if isinstance(stated, list) else []
    if any(name.endswith(_GENERATORS) for name in named):
        raise ModelSourceError(
            f"{source}: {', '.join(named)} generates text, which is not supported yet",
            hint="package an embedding or classification model; --task embedding takes the network below its head",
            code="model_source.task",
        )
    for name in named:
        if name.endswith("ForSequenceClassification"):
            return "sequence-classification"
        if name.endswith("ForTokenClassification"):
            return "token-classification"
    if not named or (source / "modules.json").is_file() or any(name.endswith("Model") for name in named):
        return "embedding"
    raise ModelSourceError(
        f"{source}: {', '.join(named)} is made for a task that is not supported",
        hint=f"{', '.join(get_args(SourceTask))} are; --task embedding takes the network below its head",
        code="model_source.task",
    )


def max_tokens_of(source: Path, config: Mapping[str, Any], stated: int | None) -> int:
    """Where texts are cut: as ``stated``, else by the tokenizer's files, and never beyond the model's positions."""
    truncation = read_json(source / TOKENIZER).get("truncation") or {}
    own = read_json(source / "tokenizer_config.json").get("model_max_length")
    limits = _lengths(stated, truncation.get("max_length"), own)[:1]
    positions = _lengths(config.get("max_position_embeddings"))
    if config.get("model_type") in _SHIFTED:
        positions = [number - 2 for number in positions]
    return min([*limits, *positions], default=DEFAULT_MAX_TOKENS)


def read_json(path: Path, kind: type = dict) -> Any:
    """A JSON file of that kind; an empty one where there is no such file.

    Raises:
        ModelSourceError: It is something else.
    """
    if not path.is_file():
        return kind()
    try:
        found = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ModelSourceError(f"{path}: is no JSON: {error}", code="model_source.not_convertible") from error
    if not isinstance(found, kind):
        raise ModelSourceError(f"{path}: expected a JSON {kind.__name__}", code="model_source.not_convertible")
    return found


def _lengths(*values: object) -> list[int]:
    """Those that are numbers of tokens; tokenizers without a limit say 10^30."""
    return [value for value in values if isinstance(value, int) and 0 < value <= 2**20]
