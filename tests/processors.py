"""Processors for tests, made of a document and a signature, without a package."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from hyperion.adapters.processing.route import make_processor
from hyperion.domain.raw_input import RawTable
from hyperion.domain.tensor import DType, Signature, TensorSpec
from hyperion.ports import Processor
from tests.processing_models import CLASSES_OUTPUT, COLUMNS, ENTITIES, TEXT_INPUT, tokenizer_json

TOKENIZER = tokenizer_json()
TAGS: dict[str, Any] = {"kind": "tokens", "output": "logits", "labels": list(ENTITIES)}


def spec(name: str, dtype: DType, *shape: int | str) -> TensorSpec:
    return TensorSpec(name=name, dtype=dtype, shape=shape)


def text_processor(
    output: dict[str, Any] = CLASSES_OUTPUT,
    *shape: int | str,
    ids: DType = "int64",
    length: int | str = "sequence",
    batch: int | str = "batch",
    tokenizer: str = TOKENIZER,
    **text: Any,
) -> Processor:
    """Of a model that takes texts and gives ``logits`` of a shape, by default of three classes."""
    names = ("input_ids", "attention_mask", "token_type_ids")
    signature = Signature(
        inputs=tuple(spec(name, ids, batch, length) for name in names),
        outputs=(spec("logits", "float32", *(shape or ("batch", 3))),),
    )
    document = {"input": TEXT_INPUT | text, "output": output}
    entries: dict[str, Callable[[], bytes]] = {"assets/tokenizer.json": tokenizer.encode}
    return make_processor(json.dumps(document).encode(), "processing.json", signature, entries)


def table_processor(dtype: DType = "float32", columns: list[dict[str, Any]] | None = None, **table: Any) -> Processor:
    """Of a model that takes one tensor of rows and gives a vector."""
    found = COLUMNS if columns is None else columns
    signature = Signature(
        inputs=(spec("row", dtype, "batch", len(found)),), outputs=(spec("y", "float32", "batch", 1),)
    )
    document = {
        "input": {"kind": "table", "input": "row", "columns": found} | table,
        "output": {"kind": "vector", "output": "y"},
    }
    return make_processor(json.dumps(document).encode(), "processing.json", signature, {})


def table(**columns: list[Any]) -> RawTable:
    """Rows whose first one has the number 100."""
    return RawTable(columns, len(next(iter(columns.values()))), first_row=100)
