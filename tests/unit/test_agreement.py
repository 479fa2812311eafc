"""How far apart two models' answers are."""

from __future__ import annotations

import numpy as np
import pytest

from hyperion.quantization.agreement import OutputError, are_probabilities, output_error, row_cosines


def test_the_error_is_relative_to_the_float_outputs() -> None:
    expected = np.array([[3.0, 0.0], [0.0, 4.0]], np.float32)

    assert output_error(expected, expected + np.array([[0.0, 3.0], [4.0, 0.0]])).relative == 1.0


def test_rows_that_are_not_finite_in_float_do_not_count() -> None:
    expected = np.array([[np.nan, 1.0], [0.0, 1.0]], np.float32)

    assert output_error(expected, np.array([[5.0, 5.0], [0.0, 1.0]])).relative == 0.0


def test_a_quantized_row_that_is_not_finite_counts_as_zeros() -> None:
    assert output_error(np.array([[0.0, 1.0]]), np.array([[0.0, np.inf]])).relative == 1.0


def test_another_shape_is_infinitely_far() -> None:
    assert output_error(np.ones((2, 2)), np.ones((2, 3))).relative == float("inf")


def test_slices_add_up() -> None:
    assert (OutputError(1.0, 4.0) + OutputError(0.0, 0.0)).relative == 0.5


def test_an_error_without_a_signal_is_infinite_and_nothing_is_no_error() -> None:
    assert (OutputError(1.0, 0.0).relative, OutputError().relative) == (float("inf"), 0.0)


def test_rows_of_zeros_agree_only_with_zeros() -> None:
    zeros, ones = np.zeros((1, 2)), np.ones((1, 2))

    assert (row_cosines(zeros, zeros)[0], row_cosines(zeros, ones)[0]) == (1.0, 0.0)


@pytest.mark.parametrize(
    ("row", "is_distribution"),
    [([0.25, 0.75], True), ([0.5, 0.6], False), ([-0.5, 1.5], False), ([float("nan"), 1.0], False)],
)
def test_probabilities_are_known_by_their_sum(row: list[float], is_distribution: bool) -> None:
    assert are_probabilities(np.array([row])) is is_distribution
