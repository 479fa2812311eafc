"""The binary tensor data extension of the Open Inference Protocol v2, without a socket."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hyperion.domain.tensor import TensorSpec
from hyperion.format.tensor_bytes import TensorBytesError, parse_tensor_bytes, tensor_bytes
from hyperion.format.tensor_json import DATATYPE_OF
from hyperion.serving.protocol import (
    InferenceRequest,
    RequestRefused,
    ServedModel,
    json_length,
    parse_infer,
    render_infer,
)

MODEL = ServedModel(
    "shop", "1.0.0", 1,
    (TensorSpec(name="x", dtype="float32", shape=("batch", 2)), TensorSpec(name="t", dtype="string", shape=("batch",))),
    (TensorSpec(name="y", dtype="float32", shape=None), TensorSpec(name="s", dtype="string", shape=None)),
    finite_outputs=frozenset({"y"}),
)  # fmt: skip
X = np.array([[1.5, -2.0]], np.float32)
T = np.array(["héllo"], object)
NUMBERS = [name for name in DATATYPE_OF if name not in ("string", "bfloat16")]


def posted(*tails: bytes, x: dict[str, Any] | None = None, **extra: Any) -> tuple[bytes, int]:
    """A request with ``x`` and ``t`` as bytes, and how long its JSON is."""
    sizes = [len(tail) for tail in tails] or [len(tensor_bytes(X)), len(tensor_bytes(T))]
    tensors = [
        {"name": "x", "shape": [1, 2], "datatype": "FP32", "parameters": {"binary_data_size": sizes[0]}, **(x or {})},
        {"name": "t", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": sizes[-1]}},
    ]
    document = json.dumps({"inputs": tensors, **extra}).encode()
    return document + b"".join(tails or (tensor_bytes(X), tensor_bytes(T))), len(document)


def refusal(body: bytes, json_bytes: int | None) -> str:
    with pytest.raises(RequestRefused) as caught:
        parse_infer(MODEL, body, json_bytes)
    assert (caught.value.cause, caught.value.status) == ("bad_request", 400)
    return caught.value.message


def test_bytes_behind_the_json_become_arrays() -> None:
    request = parse_infer(MODEL, *posted())
    np.testing.assert_array_equal(request.feeds["x"], X)
    assert request.feeds["t"].tolist() == ["héllo"]


def test_json_and_bytes_may_stand_in_one_request() -> None:
    document = json.dumps(
        {
            "inputs": [
                {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1.5, -2]},
                {"name": "t", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": 10}},
            ]
        }
    ).encode()
    request = parse_infer(MODEL, document + tensor_bytes(T), len(document))
    np.testing.assert_array_equal(request.feeds["x"], X)
    assert request.feeds["t"].tolist() == ["héllo"]


def test_aligned_numbers_are_not_copied() -> None:
    raw = np.arange(4, dtype=np.float32).tobytes()
    found = parse_tensor_bytes("FP32", [2, 2], memoryview(raw))
    assert np.shares_memory(found, np.frombuffer(raw, np.float32))


@pytest.mark.parametrize(
    ("body", "json_bytes", "words"),
    [
        (*posted(b"123", b""), "1-2 elements"),
        (posted()[0], len(posted()[0]) + 1, "is not within the body"),
        (posted()[0], -1, "no number of bytes"),
        (posted()[0], 0, "no infer request"),
        (posted()[0] + b"!", posted()[1], "1 bytes of the body belong to no input"),
        (posted()[0][:-1], posted()[1], "binary_data_size is 10, the body has 9 bytes left"),
        (*posted(x={"parameters": {"binary_data_size": -8}}), "must be a number of bytes"),
        (*posted(x={"parameters": {"binary_data_size": True}}), "must be a number of bytes"),
        (*posted(x={"parameters": {"binary_data_size": "8"}}), "must be a number of bytes"),
        (*posted(x={"data": [1, 2]}), "JSON data and binary_data_size"),
        (*posted(x={"datatype": "INT32"}), "expected FP32, found 'INT32'"),
        (*posted(x={"shape": [-1, 2]}), "sizes of 0 or more"),
        (*posted(X.tobytes(), b"\x05\0\0\0ab"), "element 0 of 1 reaches past"),
        (*posted(X.tobytes(), b"\x01\0\0\0abc"), "2 bytes follow the last"),
        (*posted(X.tobytes(), b"\x01\0\0\0\xff"), "no UTF-8 text"),
        (*posted(X.tobytes(), b"\x01\0"), "need 4 bytes or more"),
    ],
)
def test_bytes_that_do_not_fit_are_refused_by_name(body: bytes, json_bytes: int, words: str) -> None:
    message = refusal(body, json_bytes)
    assert words.replace("1-2 elements", "2 elements of float32 are 8 bytes, found 3") in message


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ([], None),
        ([(b"inference-header-content-length", b"12")], 12),
        ([(b"inference-header-content-length", b"-1")], -1),
        ([(b"inference-header-content-length", b"9" * 5000)], -1),
        ([(b"inference-header-content-length", b"")], -1),
    ],
)
def test_the_length_of_the_json_is_read_from_its_header(headers: list[tuple[bytes, bytes]], found: int | None) -> None:
    assert json_length(headers) == found


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        ({}, frozenset()),
        ({"parameters": {"binary_data_output": True}}, frozenset({"y", "s"})),
        ({"outputs": [{"name": "y", "parameters": {"binary_data": True}}, {"name": "s"}]}, frozenset({"y"})),
        (
            {"parameters": {"binary_data_output": True},
             "outputs": [{"name": "y", "parameters": {"binary_data": False}}, {"name": "s"}]},
            frozenset({"s"}),
        ),
    ],
)  # fmt: skip
def test_a_request_says_which_outputs_it_wants_as_bytes(extra: dict[str, Any], expected: frozenset[str]) -> None:
    assert parse_infer(MODEL, *posted(**extra)).binary == expected


def test_an_answer_has_its_bytes_behind_its_json_and_says_how_long_that_is() -> None:
    request = InferenceRequest(None, {}, ("s", "y"), binary=frozenset({"y"}))
    headers, body = render_infer(MODEL, request, {"y": X, "s": T})
    length = json_length(headers)
    assert (b"content-type", b"application/octet-stream") in headers
    assert json.loads(body[:length])["outputs"] == [
        {"name": "s", "shape": [1], "datatype": "BYTES", "data": ["héllo"]},
        {"name": "y", "shape": [1, 2], "datatype": "FP32", "parameters": {"binary_data_size": 8}},
    ]
    assert body[length:] == X.tobytes()


def test_bytes_carry_what_json_cannot_where_the_golden_requests_have_it_too() -> None:
    model = replace(MODEL, finite_outputs=frozenset())
    nan = np.array([np.nan], np.float32)
    _, body = render_infer(model, InferenceRequest(None, {}, ("y",), binary=frozenset({"y"})), {"y": nan})
    assert body.endswith(nan.tobytes())


@pytest.mark.parametrize("as_bytes", [True, False])
def test_a_model_that_answers_nan_to_good_inputs_gave_an_invalid_output(as_bytes: bool) -> None:
    request = InferenceRequest(None, {"x": X}, ("y",), binary=frozenset({"y"} if as_bytes else ()))
    with pytest.raises(RequestRefused) as caught:
        render_infer(MODEL, request, {"y": np.array([np.nan], np.float32)})
    assert caught.value.cause == "invalid_output"


def test_a_client_that_sends_nan_makes_no_output_invalid() -> None:
    request = InferenceRequest(None, {"x": X * np.nan}, ("y",))
    with pytest.raises(RequestRefused) as caught:
        render_infer(MODEL, request, {"y": np.array([np.nan], np.float32)})
    assert caught.value.cause == "non_finite_output"


@st.composite
def arrays(draw: st.DrawFn) -> Any:
    dtype = np.dtype(draw(st.sampled_from(NUMBERS)))
    return draw(hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)))


class TestTensorBytes:
    @given(arrays(), st.integers(0, 7))
    def test_numbers_read_back_as_the_same_array_wherever_they_lie(self, values: Any, offset: int) -> None:
        raw = memoryview(bytes(offset) + tensor_bytes(values))[offset:]
        found = parse_tensor_bytes(DATATYPE_OF[values.dtype.name], values.shape, raw)
        assert (found.dtype, found.shape) == (values.dtype, values.shape)
        assert found.tobytes() == values.tobytes()

    @given(st.lists(st.text(max_size=5), max_size=5))
    def test_texts_read_back_as_the_same_texts(self, texts: list[str]) -> None:
        raw = tensor_bytes(np.array(texts, object))
        assert parse_tensor_bytes("BYTES", [len(texts)], memoryview(raw)).tolist() == texts

    @given(
        st.sampled_from(["FP32", "BOOL", "BYTES", "BF16", "?"]), st.lists(st.integers(-1, 3), max_size=3), st.binary()
    )
    @example("BYTES", [1], b"\xff\xff\xff\xff")
    def test_no_bytes_make_it_fail_in_another_way_than_refusing(
        self, datatype: str, shape: list[int], raw: bytes
    ) -> None:
        try:
            found = parse_tensor_bytes(datatype, shape, memoryview(raw))
        except TensorBytesError:
            return
        assert list(found.shape) == shape
