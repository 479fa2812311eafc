"""Open Inference Protocol v2 documents, without a socket."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hyperion.domain.metrics import ERROR_CAUSES
from hyperion.domain.tensor import TensorSpec
from hyperion.format.tensor_json import DATATYPES, TensorJsonError, parse_tensor
from hyperion.serving.protocol import (
    STATUS_OF_CAUSE,
    InferenceRequest,
    RequestRefused,
    ServedModel,
    parse_infer,
    render_infer,
    render_model,
    request_id,
)

MODEL = ServedModel(
    "shop", "1.2.0", 7,
    (TensorSpec(name="x", dtype="float32", shape=("batch", 2)), TensorSpec(name="t", dtype="string", shape=("batch",))),
    (TensorSpec(name="y", dtype="float32", shape=("batch", 2)), TensorSpec(name="s", dtype="string", shape=("batch",))),
)  # fmt: skip
X: dict[str, Any] = {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1.5, 2]}
T: dict[str, Any] = {"name": "t", "shape": [1], "datatype": "BYTES", "data": ["héllo"]}


def body(*inputs: dict[str, Any], **extra: Any) -> bytes:
    return json.dumps({"inputs": list(inputs), **extra}).encode()


def refusal(raw: bytes) -> RequestRefused:
    with pytest.raises(RequestRefused) as caught:
        parse_infer(MODEL, raw)
    return caught.value


def test_a_request_becomes_arrays() -> None:
    request = parse_infer(MODEL, body(X, T, id="a1"))
    assert request.id == "a1"
    assert request.outputs == ("y", "s")
    assert request.feeds["x"].dtype == np.float32
    np.testing.assert_array_equal(request.feeds["x"], [[1.5, 2]])
    assert request.feeds["t"].tolist() == ["héllo"]


def test_requested_outputs_are_given_in_the_asked_order() -> None:
    assert parse_infer(MODEL, body(X, T, outputs=[{"name": "s"}])).outputs == ("s",)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"{", "no infer request"),
        (b"[]", "no infer request"),
        (b"\xff", "no infer request"),
        (b'{"inputs":' + b"[" * 5000, "no infer request"),
        (body(X), "missing input 't'"),
        (body(X, X, T), "given twice"),
        (body({**X, "name": "z"}, T), "unknown input 'z'"),
        (body({**X, "datatype": "FP64"}, T), "expected FP32, found 'FP64'"),
        (body({**X, "shape": [1, 3]}, T), "expected size 2 in dimension 1"),
        (body({**X, "shape": [2]}, T), "expected 2 dimensions"),
        (body({**X, "shape": [2, 2]}, T), "needs 4 elements, found 2"),
        (body({**X, "data": [1.5, None]}, T), "must be numbers"),
        (body({**X, "data": [True, False]}, T), "must be numbers"),
        (body({**X, "data": [[1.5], [2, 3]]}, T), "ragged"),
        (body({**X, "data": [1e39, 0]}, T), "out of range"),
        (body({**X, "data": None}, T), "no data"),
        (body({**X, "data": None, "parameters": {"binary_data_size": 8}}, T), "needs the header Inference-Header"),
        (body(X, {**T, "data": [1]}), "JSON strings only"),
        (body(X, T, outputs=[{"name": "nope"}]), "unknown output 'nope'"),
        (body(X, T, outputs=[{"name": "y", "parameters": {"classification": 3}}]), "'classification' is not supported"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(raw: bytes, words: str) -> None:
    found = refusal(raw)
    assert (found.cause, found.status) == ("bad_request", 400)
    assert words in found.message


def test_a_refusal_never_holds_the_data() -> None:
    assert "secret" not in refusal(body(X, {**T, "shape": [2], "data": ["secret"]})).message
    assert "987654" not in refusal(body({**X, "data": [987654, "a"]}, T)).message


def test_an_answer_names_model_version_and_revision_and_echoes_the_id() -> None:
    request = InferenceRequest("a1", {}, ("s", "y"))
    outputs = {"y": np.array([[0.25, 1]], np.float32), "s": np.array(["é"], object)}
    headers, answer = render_infer(MODEL, request, outputs)
    assert headers == []
    assert json.loads(answer) == {
        "model_name": "shop",
        "model_version": "1.2.0",
        "id": "a1",
        "parameters": {"revision": 7},
        "outputs": [
            {"name": "s", "shape": [1], "datatype": "BYTES", "data": ["é"]},
            {"name": "y", "shape": [1, 2], "datatype": "FP32", "data": [0.25, 1.0]},
        ],
    }


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_value_that_json_cannot_carry_is_an_error_and_not_null(value: float) -> None:
    with pytest.raises(RequestRefused) as caught:
        render_infer(MODEL, InferenceRequest(None, {}, ("y",)), {"y": np.array([[value, 1]], np.float32)})
    assert (caught.value.cause, caught.value.status) == ("non_finite_output", 500)
    assert "1 of 2 values" in caught.value.message


def test_what_no_golden_output_holds_is_an_invalid_output() -> None:
    model = replace(MODEL, finite_outputs=frozenset({"y"}))
    with pytest.raises(RequestRefused) as caught:
        render_infer(model, InferenceRequest(None, {}, ("y",)), {"y": np.array([[np.nan, 1]], np.float32)})
    assert (caught.value.cause, caught.value.status) == ("invalid_output", 500)


def test_the_model_document_writes_free_dimensions_as_minus_one() -> None:
    document = json.loads(render_model(MODEL))
    assert document["name"] == "shop"
    assert document["versions"] == ["1.2.0"]
    assert document["inputs"][0] == {"name": "x", "datatype": "FP32", "shape": [-1, 2]}


def test_every_cause_has_a_status() -> None:
    assert set(STATUS_OF_CAUSE) == set(ERROR_CAUSES)


@pytest.mark.parametrize(("raw", "expected"), [(b'{"id":"q","inputs":3}', "q"), (b"{}", None), (b"nonsense", None)])
def test_the_id_of_a_bad_request_is_found_for_the_log(raw: bytes, expected: str | None) -> None:
    assert request_id(raw) == expected


@pytest.mark.parametrize("datatype", [name for name in DATATYPES if name not in ("BYTES", "BF16", "BOOL")])
def test_every_number_type_takes_flat_and_nested_lists(datatype: str) -> None:
    flat = parse_tensor(datatype, [2, 2], [1, 2, 3, 4])
    nested = parse_tensor(datatype, [2, 2], [[1, 2], [3, 4]])
    assert flat.dtype.name == DATATYPES[datatype]
    np.testing.assert_array_equal(flat, nested)


@pytest.mark.parametrize(
    ("datatype", "data"),
    [
        ("INT8", [128]), ("INT8", [-129]), ("UINT8", [-1]), ("UINT8", [256]), ("INT32", [1.0]), ("INT64", [2**63]),
        ("UINT64", [-1, 2**63]), ("UINT64", [2**64]), ("UINT64", [1.5]), ("FP16", [70000]), ("BOOL", [1]),
        ("BOOL", ["true"]), ("FP32", ["1"]), ("FP32", [{}]), ("BF16", [1.0]), ("nope", [1]), ("BYTES", [None]),
    ],
)  # fmt: skip
def test_nothing_is_coerced(datatype: str, data: list[Any]) -> None:
    with pytest.raises(TensorJsonError):
        parse_tensor(datatype, [len(data)], data)


def test_the_extremes_of_64_bit_integers_survive() -> None:
    assert parse_tensor("UINT64", [2], [0, 2**64 - 1]).tolist() == [0, 2**64 - 1]
    assert parse_tensor("INT64", [2], [-(2**63), 2**63 - 1]).tolist() == [-(2**63), 2**63 - 1]
    assert parse_tensor("UINT64", [3], [1, 2**53 + 1, 2**63]).tolist() == [1, 2**53 + 1, 2**63]


def test_booleans_empty_tensors_and_scalars() -> None:
    assert parse_tensor("BOOL", [2], [True, False]).tolist() == [True, False]
    assert parse_tensor("FP32", [0, 4], []).shape == (0, 4)
    assert parse_tensor("FP32", [], [1.0]).shape == ()


@pytest.mark.parametrize("shape", [[-1], [1] * 33])
def test_impossible_shapes_are_refused(shape: list[int]) -> None:
    with pytest.raises(TensorJsonError):
        parse_tensor("FP32", shape, [1.0])
