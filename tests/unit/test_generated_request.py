"""Inputs made from a signature alone."""

from __future__ import annotations

import numpy as np
import pytest

from hyperion.domain.tensor import Signature, TensorSpec
from hyperion.verification.request import NoRequestError, generated_request


def signature(dtype: str, shape: tuple[int | str, ...] | None) -> Signature:
    spec = TensorSpec.model_validate({"name": "x", "dtype": dtype, "shape": shape})
    return Signature(inputs=(spec,), outputs=(spec,))


@pytest.mark.parametrize(
    ("shape", "rows", "expected"),
    [
        (("batch", 3), 1, (1, 3)),
        (("batch", 3), 5, (5, 3)),
        (("batch", "time", 4), 2, (2, 1, 4)),
        ((2, "time"), 5, (2, 1)),
        ((), 5, ()),
        (None, 5, (5,)),
    ],
)
def test_fixed_sizes_stay_and_free_ones_are_one_but_for_the_rows(
    shape: tuple[int | str, ...] | None, rows: int, expected: tuple[int, ...]
) -> None:
    assert generated_request(signature("float32", shape), rows)["x"].shape == expected


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int32", "int64", "float16", "float32", "float64"])
def test_values_have_the_type_and_are_small(dtype: str) -> None:
    value = generated_request(signature(dtype, ("b", 4)))["x"]

    assert value.dtype.name == dtype
    assert (value.astype(float) <= 1).all()


def test_text_is_text() -> None:
    assert generated_request(signature("string", ("b", 2)))["x"].tolist() == [["a", "a"]]


def test_the_same_signature_gives_the_same_values() -> None:
    first, second = (generated_request(signature("float32", ("b", 9)))["x"] for _ in range(2))

    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(("dtype", "shape"), [("other", (1,)), ("bfloat16", (1,)), ("float32", (10**6, 10**6))])
def test_what_cannot_be_made_is_said(dtype: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(NoRequestError, match="'x'"):
        generated_request(signature(dtype, shape))
