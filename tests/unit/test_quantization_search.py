"""Finding what must stay in float."""

from __future__ import annotations

from hyperion.quantization.search import Trial, choose


def harmful(costs: dict[str, float], limit: float):  # type: ignore[no-untyped-def]
    """A model whose error is the sum of its parts' and that holds up to ``limit``."""
    trials: list[frozenset[str]] = []

    def measure(quantized: frozenset[str]) -> Trial:
        trials.append(quantized)
        error = sum(costs[name] for name in quantized)
        return Trial(error <= limit, error)

    return measure, trials


def test_all_is_quantized_where_that_holds_and_nothing_else_is_tried() -> None:
    measure, trials = harmful({"a": 0.1, "b": 0.1}, 1.0)

    choice = choose(["a", "b"], measure)

    assert (choice.quantized, choice.kept) == (("a", "b"), {})
    assert len(trials) == 1


def test_the_fewest_most_harmful_are_kept_with_what_they_cost() -> None:
    costs = {"a": 0.1, "b": 5.0, "c": 0.2, "d": 3.0, "e": 0.1}
    measure, _ = harmful(costs, 1.0)

    choice = choose(list(costs), measure)

    assert choice.quantized == ("a", "c", "e")
    assert choice.kept == {"b": 5.0, "d": 3.0}


def test_everything_is_kept_where_nothing_can_be_borne() -> None:
    measure, _ = harmful({"a": 2.0, "b": 3.0}, 1.0)

    choice = choose(["a", "b"], measure)

    assert (choice.quantized, choice.kept) == ((), {"a": 2.0, "b": 3.0})


def test_a_single_group_that_breaks_the_model_is_kept() -> None:
    measure, _ = harmful({"a": 2.0}, 1.0)

    assert choose(["a"], measure).kept == {"a": 2.0}


def test_nothing_to_quantize_is_no_trial() -> None:
    measure, trials = harmful({}, 1.0)

    assert choose([], measure).quantized == ()
    assert trials == []
