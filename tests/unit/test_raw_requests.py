"""Raw requests of the Open Inference Protocol v2, without a socket."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from tests.processing_models import ENTITIES
from tests.processors import TAGS, table_processor, text_processor, tokenizer_json

from hyperion.domain.raw_input import RawTable, RawTexts
from hyperion.domain.tensor import TensorSpec
from hyperion.ports import Processor
from hyperion.serving.protocol import RequestRefused, ServedModel, parse_infer, render_infer, render_model
from hyperion.serving.raw_inputs import RawRequests

IDS = tuple(
    TensorSpec(name=name, dtype="int64", shape=("batch", "sequence"))
    for name in ("input_ids", "attention_mask", "token_type_ids")
)
LOGITS = TensorSpec(name="logits", dtype="float32", shape=("batch", 3))
ROW = TensorSpec(name="row", dtype="float32", shape=("batch", 3))
OWN = TensorSpec(name="age", dtype="float32", shape=("batch", 1))


def model(processor: Processor | None, *inputs: TensorSpec, no_raw_inputs: str | None = None) -> ServedModel:
    processing = None if processor is None else processor.processing
    answers = () if processor is None else processor.answer_specs
    return ServedModel(
        "shop", "1.0.0", 1, inputs, (LOGITS,), processing=processing, answers=answers, no_raw_inputs=no_raw_inputs
    )


TEXTS = model(text_processor(), *IDS)
ROWS = model(table_processor(), ROW)


def given(name: str, datatype: str, data: list[Any] | None, *shape: int) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": list(shape or (len(data or ()),)), "data": data}


def body(*inputs: dict[str, Any], **extra: Any) -> bytes:
    return json.dumps({"inputs": list(inputs), **extra}).encode()


def refusal(served: ServedModel, raw: bytes) -> str:
    with pytest.raises(RequestRefused) as caught:
        parse_infer(served, raw)
    assert caught.value.status == 400
    return caught.value.message


def test_texts_come_as_they_were_sent_in_a_row_or_a_column() -> None:
    for shape in ((2,), (2, 1)):
        request = parse_infer(TEXTS, body(given("text", "BYTES", ["a", "b"], *shape)))
        assert (request.raw, request.feeds) == (RawTexts(["a", "b"]), {})
        assert request.outputs == ("logits", "label", "score")


def test_texts_may_come_as_bytes() -> None:
    tensor = {"name": "text", "datatype": "BYTES", "shape": [2], "parameters": {"binary_data_size": 11}}
    document = body(tensor)

    request = parse_infer(TEXTS, document + b"\x01\0\0\0a\x02\0\0\0\xc3\xa9", len(document))

    assert request.raw == RawTexts(["a", "é"], None)


def test_pairs_of_texts_belong_together() -> None:
    request = parse_infer(TEXTS, body(given("text_pair", "BYTES", ["b"]), given("text", "BYTES", ["a"])))

    assert request.raw == RawTexts(["a"], ["b"])


def test_columns_may_be_of_any_type() -> None:
    request = parse_infer(ROWS, body(given("age", "INT64", [1, 2]), given("colour", "BYTES", ["red", "blue"])))

    assert request.raw == RawTable({"age": [1, 2], "colour": ["red", "blue"]}, 2)


def test_tensors_are_tensors_still_and_get_the_models_outputs_alone() -> None:
    request = parse_infer(ROWS, body(given("row", "FP32", [1, 2, 3], 1, 3)))

    assert (request.raw, request.outputs) == (None, ("logits",))


def test_a_column_named_as_the_input_that_it_fills_is_told_by_type_and_dimensions() -> None:
    served = model(table_processor(columns=[{"name": "age"}]), OWN)

    assert parse_infer(served, body(given("age", "FP32", [1.0], 1, 1))).raw is None
    assert parse_infer(served, body(given("age", "FP64", [1.0], 1, 1))).raw == RawTable({"age": [1.0]}, 1)
    assert parse_infer(served, body(given("age", "FP32", [1.0], 1))).raw == RawTable({"age": [1.0]}, 1)


@pytest.mark.parametrize(
    ("served", "raw", "words"),
    [
        (TEXTS, body(given("text", "INT64", [1])), "input 'text': expected BYTES, found 'INT64'"),
        (TEXTS, body(given("text", "BYTES", ["a", "b"], 1, 2)), "expected shape [rows] or [rows, 1], found [1, 2]"),
        (TEXTS, body(given("text", "BYTES", ["a"], 2)), "input 'text': shape [2] needs 2 elements, found 1"),
        (TEXTS, body(given("text", "BYTES", None, 1)), "input 'text': it has no data"),
        (TEXTS, body(given("text", "BYTES", ["a"]), given("text", "BYTES", ["a"])), "given twice"),
        (TEXTS, body(given("text_pair", "BYTES", ["a"])), "missing input 'text'"),
        (ROWS, body(given("age", "FP64", [1]), given("colour", "BYTES", ["red", "red"])), "'age' 1, 'colour' 2"),
        (ROWS, body(given("age", "FP64", [None])), "FP64 data must be numbers only"),
        (
            ROWS,
            body(given("size", "FP64", [1])),
            "unknown input 'size'; the model takes 'row', or in their place 'age', 'colour', 'income'",
        ),
        (TEXTS, body(given("text", "BYTES", ["a"]), outputs=[{"name": "x"}]), "the model gives 'logits', 'label'"),
        (model(None, ROW, no_raw_inputs="no raw inputs: why"), body(given("text", "BYTES", ["a"])), "raw inputs: why"),
    ],
)
def test_what_is_no_raw_request_is_refused(served: ServedModel, raw: bytes, words: str) -> None:
    assert words in refusal(served, raw)


def test_the_metadata_names_each_input_once() -> None:
    served = model(table_processor(columns=[{"name": "age"}]), OWN)

    assert [item["name"] for item in json.loads(render_model(served))["inputs"]] == ["age"]


def test_answers_follow_the_outputs() -> None:
    requests, request = RawRequests(text_processor()), parse_infer(TEXTS, body(given("text", "BYTES", ["rain"])))
    assert request.raw is not None
    encoded = requests.encode(request.raw)

    outputs = requests.answered(encoded, {"logits": np.array([[0, 9, 0]], np.float32)}, request.outputs)

    answer = json.loads(render_infer(TEXTS, request, outputs)[1])["outputs"]
    assert [(item["name"], item["datatype"]) for item in answer] == [
        ("logits", "FP32"), ("label", "BYTES"), ("score", "FP32"),
    ]  # fmt: skip
    assert answer[1]["data"] == ["markets"]


def test_answers_that_nobody_asked_for_are_not_made() -> None:
    requests = RawRequests(text_processor())
    encoded = requests.encode(RawTexts(["rain"]))

    assert list(requests.answered(encoded, {"logits": np.zeros((9, 9))}, ("logits",))) == ["logits"]


@pytest.mark.parametrize(
    ("logits", "cause"), [([[np.nan, 0, 0]], "non_finite_output"), ([[0.0, 0.0]], "engine")], ids=["NaN", "two classes"]
)
def test_outputs_that_have_no_words_are_a_fault_of_the_server(logits: list[list[float]], cause: str) -> None:
    requests = RawRequests(text_processor())
    encoded = requests.encode(RawTexts(["rain"]))

    with pytest.raises(RequestRefused) as caught:
        requests.answered(encoded, {"logits": np.array(logits, np.float32)}, ("label",))

    assert (caught.value.cause, caught.value.status) == (cause, 500)


def test_words_that_cannot_be_made_of_a_stray_nan_are_an_invalid_output() -> None:
    requests = RawRequests(text_processor(), finite_outputs=frozenset({"logits"}))
    encoded = requests.encode(RawTexts(["rain"]))

    with pytest.raises(RequestRefused) as caught:
        requests.answered(encoded, {"logits": np.array([[np.nan, 0, 0]], np.float32)}, ("label",))

    assert caught.value.cause == "invalid_output"


def test_rows_that_do_not_fit_are_the_clients_fault_and_a_panic_is_not(capfd: pytest.CaptureFixture[str]) -> None:
    bomb = {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated", "invert": False}
    requests = RawRequests(text_processor(tokenizer=tokenizer_json(pre_tokenizer=bomb)))

    with pytest.raises(RequestRefused) as client:
        requests.encode(RawTexts([]))
    with pytest.raises(RequestRefused) as server:
        requests.encode(RawTexts(["a" * 40 + "b"]))

    assert (client.value.status, server.value.status) == (400, 500)


def test_spans_are_one_text_for_each_row() -> None:
    (spans,) = text_processor(TAGS, "batch", "sequence", len(ENTITIES)).answer_specs

    assert (spans.name, spans.dtype, spans.shape) == ("spans", "string", ("batch",))
