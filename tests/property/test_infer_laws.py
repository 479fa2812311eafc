"""Laws of the infer documents: arrays survive JSON, and no body makes the parser fail in another way than refusing."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hyperion.domain.tensor import TensorSpec
from hyperion.format.tensor_json import DATATYPE_OF, parse_tensor
from hyperion.serving.protocol import InferenceRequest, RequestRefused, ServedModel, parse_infer, render_infer

NUMBERS = [name for name in DATATYPE_OF if name not in ("string", "bfloat16")]
MODEL = ServedModel(
    "shop", "1.0.0", 1, (TensorSpec(name="x", dtype="float32", shape=("batch", 2)),),
    (TensorSpec(name="y", dtype="float32", shape=None),),
)  # fmt: skip


@st.composite
def arrays(draw: st.DrawFn) -> Any:
    dtype = np.dtype(draw(st.sampled_from(NUMBERS)))
    elements = {"allow_nan": False, "allow_infinity": False} if dtype.kind == "f" else {}
    return draw(hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
                           elements=hnp.from_dtype(dtype, **elements)))  # fmt: skip


class TestTensors:
    @given(arrays())
    def test_what_is_answered_reads_back_as_the_same_array(self, values: Any) -> None:
        """render → parse is the identity, for every number type and shape."""
        answer = json.loads(render_infer(MODEL, InferenceRequest(None, {}, ("y",)), {"y": values})[1])
        (output,) = answer["outputs"]
        found = parse_tensor(output["datatype"], output["shape"], output["data"])
        assert found.dtype == values.dtype
        np.testing.assert_array_equal(found, values)

    @given(st.lists(st.text(max_size=5), max_size=5))
    def test_text_survives(self, texts: list[str]) -> None:
        found = parse_tensor("BYTES", [len(texts)], texts)
        assert found.tolist() == texts


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=5),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=5), children, max_size=4),
    max_leaves=20,
)
inputs = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["x", "y"]) | st.text(max_size=3),
        "shape": st.lists(st.integers(-2, 4), max_size=3) | json_values,
        "datatype": st.sampled_from(["FP32", "INT64", "BYTES", "?"]),
        "data": json_values,
    }
)


class TestRefusals:
    @given(st.binary(max_size=200))
    @example(b'{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[[1,[2]]]}]}')
    @example(b'{"inputs":[{"name":"x","shape":[99999999999999999999],"datatype":"FP32","data":[1]}]}')
    def test_any_bytes_are_a_request_or_refused(self, body: bytes) -> None:
        self._parse(body)

    @given(st.fixed_dictionaries({"inputs": st.lists(inputs, max_size=3)}, optional={"outputs": json_values}))
    def test_any_document_is_a_request_or_refused(self, document: Any) -> None:
        self._parse(json.dumps(document).encode())

    @staticmethod
    def _parse(body: bytes) -> None:
        with suppress(RequestRefused):
            assert parse_infer(MODEL, body).feeds["x"].dtype == np.float32
