"""How far two models answer alike."""

from __future__ import annotations

import numpy as np
import pytest

from hyperion.quantization.agreement import Likeness, are_probabilities, compare_rows


def test_classes_agree_by_their_largest_score() -> None:
    expected = np.array([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7]], np.float32)
    found = np.array([[0.4, 0.6], [0.1, 0.9], [0.0, 1.0]], np.float32)

    likeness = compare_rows(expected, found, classes=True)

    assert (likeness.rows, likeness.agreed) == (3, 2)


def test_cosines_are_averaged_over_rows() -> None:
    expected = np.array([[1.0, 0.0], [1.0, 0.0]], np.float32)
    found = np.array([[2.0, 0.0], [0.0, 3.0]], np.float32)

    assert compare_rows(expected, found, classes=False).value == pytest.approx(0.5)


def test_rows_of_zeros_agree_only_with_zeros() -> None:
    zeros, ones = np.zeros((1, 2), np.float32), np.ones((1, 2), np.float32)

    assert compare_rows(zeros, zeros, classes=False).value == 1.0
    assert compare_rows(zeros, ones, classes=False).value == 0.0


def test_rows_that_are_not_finite_in_float_do_not_count() -> None:
    expected = np.array([[np.nan, 1.0], [0.0, 1.0]], np.float32)

    assert compare_rows(expected, expected, classes=True).rows == 1


def test_a_quantized_row_that_is_not_finite_agrees_in_nothing() -> None:
    expected = np.array([[0.0, 1.0]], np.float32)
    found = np.array([[0.0, np.inf]], np.float32)

    assert compare_rows(expected, found, classes=True).value == 0.0


def test_another_shape_agrees_in_nothing() -> None:
    assert compare_rows(np.zeros((2, 2)), np.zeros((2, 3)), classes=False).value == 0.0


def test_slices_add_up() -> None:
    total = Likeness(3, 2.0, 1.0, 4.0) + Likeness(1, 1.0, 0.0, 0.0)

    assert (total.value, total.error) == (0.75, 0.5)


def test_nothing_compared_has_no_value_and_no_error() -> None:
    assert (Likeness().value, Likeness().error) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("row", "is_distribution"),
    [([0.25, 0.75], True), ([0.5, 0.6], False), ([-0.5, 1.5], False), ([float("nan"), 1.0], False)],
)
def test_probabilities_are_known_by_their_sum(row: list[float], is_distribution: bool) -> None:
    assert are_probabilities(np.array([row])) is is_distribution
