"""config/processing.json: what it may say, and whether it fits the model that it stands beside."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hyperion.domain.processing import Processing
from hyperion.domain.processing_fit import processing_faults
from hyperion.domain.tensor import Signature, TensorSpec
from hyperion.errors import ConfigError
from hyperion.format.strict_json import parse_document

IDS = TensorSpec(name="ids", dtype="int64", shape=("batch", "sequence"))
MASK = TensorSpec(name="mask", dtype="int64", shape=("batch", "sequence"))
ROW = TensorSpec(name="row", dtype="float32", shape=("batch", 2))
CITY = TensorSpec(name="city", dtype="string", shape=("batch", 1))
LOGITS = TensorSpec(name="logits", dtype="float32", shape=("batch", 2))
TEXTS = Signature(inputs=(IDS, MASK), outputs=(LOGITS,))
CITIES = Signature(inputs=(CITY,), outputs=(LOGITS,))
ROWS = Signature(inputs=(ROW,), outputs=(LOGITS,))
ENTRIES = {"assets/tokenizer.json"}

TEXT: dict[str, Any] = {"kind": "text", "max_tokens": 16, "ids": "ids", "mask": "mask"}
TABLE: dict[str, Any] = {"kind": "table", "input": "row", "columns": [{"name": "a"}, {"name": "b"}]}
CLASSES: dict[str, Any] = {"kind": "classes", "output": "logits", "labels": ["no", "yes"]}


def document(given: dict[str, Any], output: dict[str, Any] = CLASSES) -> Processing:
    return parse_document(Processing, json.dumps({"input": given, "output": output}).encode(), "processing.json")


def faults(given: dict[str, Any], signature: Signature, output: dict[str, Any] = CLASSES) -> list[str]:
    return [str(problem) for problem in processing_faults(document(given, output), signature, ENTRIES)]


@pytest.mark.parametrize(
    ("given", "signature"),
    [
        (TEXT, TEXTS),
        (TABLE, ROWS),
        (
            {"kind": "table", "columns": [{"name": "city", "kind": "category", "input": "city"}]},
            CITIES,
        ),
        (TABLE, Signature(inputs=(ROW.model_copy(update={"shape": None}),), outputs=(LOGITS,))),
        (TEXT, Signature(inputs=(IDS, MASK), outputs=(LOGITS,), labels=("no", "yes"))),
    ],
    ids=["texts", "rows", "a text column", "no declared shape", "the same labels"],
)
def test_a_document_that_fits_has_no_faults(given: dict[str, Any], signature: Signature) -> None:
    assert faults(given, signature) == []


@pytest.mark.parametrize(
    ("given", "signature", "output", "fault"),
    [
        (TEXT | {"ids": "words"}, TEXTS, CLASSES, "input.ids: the model has no 'words'; it has 'ids', 'mask'"),
        (TEXT | {"mask": None}, TEXTS, CLASSES, "input: nothing fills 'mask', which the model needs"),
        (TEXT | {"tokenizer": "assets/t.json"}, TEXTS, CLASSES, "input.tokenizer: there is no 'assets/t.json'"),
        (TEXT | {"ids": "row", "mask": None}, ROWS, CLASSES, "input.ids: 'row' is float32[batch, 2]; expected int64"),
        (TABLE | {"columns": [{"name": "a"}]}, ROWS, CLASSES, "input.input: 'row' takes 2 columns, found 1"),
        (TABLE | {"input": None}, ROWS, CLASSES, "input.input: required for the columns without an input"),
        (
            TABLE | {"columns": [{"name": "a"}, {"name": "b", "kind": "category"}]},
            ROWS, CLASSES, "input.columns[1].categories: required, since 'row' takes numbers",
        ),
        (TEXT, TEXTS, CLASSES | {"labels": ["a", "b", "c"]}, "output.labels: found 3, but 'logits'"),
        (TEXT, TEXTS, CLASSES | {"output": "scores"}, "output.output: the model has no 'scores'"),
        (
            TEXT, TEXTS.model_copy(update={"labels": ("yes", "no")}), CLASSES,
            "output.labels: are not the labels that hyperion.json or the model gives",
        ),
        (TABLE, ROWS, {"kind": "tokens", "output": "logits", "labels": ["O", "X"]}, "output.kind: 'tokens' needs"),
        (TEXT, TEXTS, {"kind": "vector", "output": "logits", "pooling": "mean"}, "expected 3 dimensions"),
        (TABLE, ROWS, {"kind": "vector", "output": "logits", "pooling": "mean"}, "output.pooling: 'mean' needs"),
        (
            TEXT, TEXTS, {"kind": "tokens", "output": "logits", "labels": ["A", "B"], "outside": "C"},
            "output.outside: 'C' is none of the labels",
        ),
        ({"kind": "table", "columns": [{"name": "city", "input": "city"}]}, CITIES, CLASSES, "input.columns[0].kind"),
        (
            {"kind": "table", "columns": [{"name": "city", "kind": "category", "input": "city", "missing": 1.0}]},
            CITIES, CLASSES, "input.columns[0].missing: a number cannot stand for the text",
        ),
        (
            {"kind": "table", "columns": [{"name": "n", "input": "ids", "missing": "nan"}]},
            TEXTS, CLASSES, "input.columns[0].missing: 'ids' is int64, which has no 'nan'",
        ),
    ],
)  # fmt: skip
def test_each_fault_names_its_field(
    given: dict[str, Any], signature: Signature, output: dict[str, Any], fault: str
) -> None:
    assert any(found.startswith(fault) or fault in found for found in faults(given, signature, output))


def test_a_model_of_fixed_length_bounds_the_tokens() -> None:
    fixed = Signature(
        inputs=tuple(spec.model_copy(update={"shape": ("batch", 8)}) for spec in (IDS, MASK)), outputs=(LOGITS,)
    )

    assert faults(TEXT, fixed) == [
        f"input.max_tokens: is 16, but the input {name!r} takes 8 tokens" for name in ("ids", "mask")
    ]


def test_all_faults_are_told_at_once() -> None:
    found = faults(TEXT | {"ids": "words", "tokenizer": "assets/t.json"}, TEXTS, CLASSES | {"output": "scores"})

    assert len(found) == 4


def test_two_labels_may_share_one_sigmoid() -> None:
    one = Signature(inputs=(IDS, MASK), outputs=(LOGITS.model_copy(update={"shape": ("batch", 1)}),))

    assert faults(TEXT, one, CLASSES | {"activation": "sigmoid"}) == []
    assert len(faults(TEXT, one, CLASSES | {"activation": "softmax"})) == 1


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        (TABLE | {"columns": [{"name": "a", "scale": 0}]}, "the scale of a column cannot be 0"),
        (TABLE | {"columns": [{"name": "a"}, {"name": "a"}]}, "the column 'a' stands twice"),
        (TABLE | {"columns": [{"name": "a", "categories": ["x"]}]}, "a column of numbers has no categories"),
        (
            TABLE | {"columns": [{"name": "a", "kind": "category", "categories": ["x", "x"]}]},
            "the category 'x' stands twice",
        ),
        (TABLE | {"columns": []}, "at least 1 item"),
        (
            TABLE | {"columns": [{"name": "a", "input": "x"}, {"name": "b", "input": "x"}]},
            "the input 'x' is the own input of two columns",
        ),
        (TEXT | {"tokenizer": "../tokenizer.json"}, "should match pattern"),
        (TEXT | {"script": "run.py"}, "unknown key"),
    ],
)
def test_a_document_that_contradicts_itself_is_refused(given: dict[str, Any], fault: str) -> None:
    with pytest.raises(ConfigError, match=fault):
        document(given)


def test_labels_are_different() -> None:
    with pytest.raises(ConfigError, match="the label 'no' stands twice"):
        document(TEXT, CLASSES | {"labels": ["no", "no"]})


def test_the_raw_inputs_of_a_table_are_its_columns() -> None:
    columns = [{"name": "age", "missing": 1.0}, {"name": "colour", "kind": "category", "categories": ["red"]}]

    age, colour = document(TABLE | {"columns": columns}).raw_inputs

    assert (age.name, age.dtype, age.optional) == ("age", "float64", True)
    assert (colour.name, colour.dtype, colour.optional) == ("colour", "string", False)
