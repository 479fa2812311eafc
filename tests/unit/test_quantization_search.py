"""Finding the smallest form that holds."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from hyperion.domain.manifest import WeightScheme
from hyperion.quantization.search import Assignment, Option, choose

SIZES: dict[WeightScheme, int] = {"w4": 160, "int8": 256, "w8": 280, "none": 1000}


class Model:
    """A model whose squared error is the sum of its groups', and that holds up to a limit."""

    def __init__(self, errors: Mapping[str, Mapping[WeightScheme, float]], limit: float) -> None:
        self.errors, self.limit = errors, limit
        self.measured: list[dict[str, WeightScheme]] = []
        self.options = {
            group: tuple(Option(scheme, SIZES[scheme]) for scheme in (*found, "none"))
            for group, found in errors.items()
        }  # fmt: skip

    def alone(self, group: str, scheme: WeightScheme) -> float:
        return self.errors[group][scheme]

    def holds(self, assignment: Assignment) -> bool:
        self.measured.append(dict(assignment))
        squares = (self.errors[g][s] ** 2 for g, s in assignment.items() if s != "none")
        return sum(squares) <= self.limit**2

    def choose(self) -> dict[str, WeightScheme]:
        return choose(self.options, self.alone, self.holds).schemes

    def size(self, assignment: Assignment) -> int:
        return sum(SIZES[scheme] for scheme in assignment.values())


def group(w4: float, int8: float, w8: float) -> dict[WeightScheme, float]:
    return {"w4": w4, "int8": int8, "w8": w8}


def test_the_smallest_everywhere_is_taken_where_it_holds_and_nothing_else_is_tried() -> None:
    model = Model({"a": group(0.1, 0.01, 0.001), "b": group(0.1, 0.01, 0.001)}, 1.0)

    assert model.choose() == {"a": "w4", "b": "w4"}
    assert len(model.measured) == 1


def test_what_costs_most_for_its_bytes_is_promoted_and_the_rest_stays_small() -> None:
    model = Model({"a": group(0.1, 0.05, 0.01), "b": group(5.0, 0.3, 0.1), "c": group(0.2, 0.1, 0.01)}, 0.5)

    assert model.choose() == {"a": "w4", "b": "int8", "c": "w4"}


def test_a_group_that_nothing_but_float_saves_goes_to_float() -> None:
    model = Model({"a": group(0.1, 0.1, 0.1), "b": group(9.0, 8.0, 7.0)}, 0.5)

    assert model.choose() == {"a": "w4", "b": "none"}


def test_everything_stays_in_float_where_nothing_can_be_borne() -> None:
    model = Model({"a": group(2.0, 2.0, 2.0), "b": group(3.0, 3.0, 3.0)}, 1.0)

    assert model.choose() == {"a": "none", "b": "none"}


def test_what_the_engine_refuses_is_promoted_first() -> None:
    refused = float("inf")
    model = Model({"a": group(0.4, 0.1, 0.1), "b": group(refused, refused, 0.1)}, 0.5)

    assert model.choose() == {"a": "w4", "b": "w8"}


@pytest.mark.parametrize("limit", [0.01, 0.1, 0.3, 0.7, 1.5, 4.0])
def test_what_is_chosen_was_measured_to_hold_or_is_float(limit: float) -> None:
    model = Model({name: group(0.1 * n, 0.03 * n, 0.01 * n) for n, name in enumerate("abcdefgh", 1)}, limit)

    chosen = model.choose()

    assert chosen in model.measured or set(chosen.values()) == {"none"}
    assert model.holds(chosen)


def test_the_number_of_trials_is_bounded() -> None:
    model = Model({f"layer{n}": group(0.5, 0.2, 0.1) for n in range(24)}, 0.7)

    model.choose()

    assert len(model.measured) <= 1 + 7 + 8


def test_equal_models_give_equal_choices() -> None:
    errors = {name: group(0.5, 0.2, 0.1) for name in "abcdef"}

    assert Model(errors, 0.6).choose() == Model(errors, 0.6).choose()


def test_nothing_to_quantize_is_no_trial() -> None:
    model = Model({}, 1.0)

    assert model.choose() == {}
    assert model.measured == []
