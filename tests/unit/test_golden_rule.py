"""The rule that compares answers with golden requests."""

from __future__ import annotations

import numpy as np
import pytest

from hyperion.domain.manifest import GoldenRequest
from hyperion.verification.golden import Golden, compare

NAN, INF = float("nan"), float("inf")


def golden(expected: object, dtype: str = "float32", **rule: object) -> Golden:
    return Golden("g", GoldenRequest.model_validate(rule), {}, {"y": np.array(expected, dtype=dtype)})


def answer(values: object, dtype: str = "float32") -> dict[str, np.ndarray]:
    return {"y": np.array(values, dtype=dtype)}


@pytest.mark.parametrize(
    ("rule", "expected", "found"),
    [
        ({}, [1.0, 2.0], [1.0, 2.001]),
        ({"absolute": 0.5}, [1.0], [1.4]),
        ({"relative": 0.1, "absolute": 0}, [100.0], [109.0]),
        ({"comparison": "equal"}, [1.0, NAN], [1.0, NAN]),
        ({}, [INF, -INF, NAN], [INF, -INF, NAN]),
        ({"comparison": "top1"}, [[0.1, 0.9], [0.8, 0.2]], [[0.4, 0.6], [0.6, 0.4]]),
        ({}, [], []),
        ({"comparison": "norm", "relative": 0.1}, [10.0, 0.0, 0.0], [10.5, 0.5, 0.0]),
        ({"comparison": "norm", "relative": 0.1}, [10.0, NAN, INF], [10.0, NAN, INF]),
        ({"comparison": "norm"}, [0.0, 0.0], [1e-4, 0.0]),
        ({"comparison": "norm"}, [NAN], [NAN]),
    ],
)
def test_an_answer_within_the_rule_agrees(rule: dict[str, object], expected: object, found: object) -> None:
    assert compare(golden(expected, **rule), answer(found)).fault is None


@pytest.mark.parametrize(
    ("rule", "expected", "found", "said"),
    [
        ({}, [1.0, 2.0], [1.0, 2.1], "'y'(1,): expected 2 ± 0.0021, found 2.1 (1 of 2 elements"),
        ({"comparison": "equal"}, [1.0], [1.0001], "expected 1 ± 0, found 1.0001"),
        ({"absolute": 100}, [1.0], [NAN], "expected 1, found nan"),
        ({"absolute": 100}, [1.0], [INF], "expected 1, found inf"),
        ({"absolute": 100}, [INF], [-INF], "expected inf"),
        ({"comparison": "top1"}, [[0.1, 0.9]], [[0.9, 0.1]], "expected class 1 in row [0], found 0"),
        ({"comparison": "top1"}, [[0.1, 0.9]], [[NAN, NAN]], "found nan"),
        ({}, [1.0], [1.0, 1.0], "expected shape [1], found [2]"),
        ({"comparison": "norm", "relative": 0.1}, [3.0, 4.0], [3.0, 5.0], "a distance of at most 0.354 (0.1 of its"),
        ({"comparison": "norm"}, [1.0, NAN], [1.0, 2.0], "'y'(1,): expected nan, found 2"),
        ({"comparison": "norm"}, [1.0, 2.0], [1.0, NAN], "'y'(1,): expected 2, found nan"),
    ],
)
def test_what_differs_is_said_with_its_place(
    rule: dict[str, object], expected: object, found: object, said: str
) -> None:
    fault = compare(golden(expected, **rule), answer(found)).fault

    assert fault is not None
    assert said in fault


def test_class_numbers_must_be_equal_however_large_they_are() -> None:
    assert (
        compare(golden([5000], "int64"), answer([5003], "int64")).fault == "output 'y'(0,): expected 5000, found 5003"
    )


def test_pixels_may_differ_by_the_absolute_tolerance_without_wrapping_around() -> None:
    assert compare(golden([0, 255], "uint8", absolute=2), answer([2, 253], "uint8")).ok
    assert not compare(golden([0], "uint8", absolute=2), answer([255], "uint8")).ok


def test_a_missing_output_is_a_fault_and_an_ignored_one_is_none() -> None:
    assert compare(golden([1.0]), {}).fault == "output 'y' is missing from the answer"
    assert compare(golden([1.0], ignore=("y",)), {}).ok


def test_another_kind_of_number_is_a_fault() -> None:
    assert compare(golden([1.0]), answer([1], "int64")).fault == "output 'y': expected float32, found int64"


def test_booleans_are_compared_exactly() -> None:
    assert compare(golden([True], "bool"), answer([True], "bool")).ok
    assert not compare(golden([True], "bool", absolute=5), answer([False], "bool")).ok


def test_the_largest_error_is_reported_even_where_all_agrees() -> None:
    assert compare(golden([1.0, 2.0]), answer([1.0, 2.0005])).largest_error == pytest.approx(0.0005, rel=1e-2)
