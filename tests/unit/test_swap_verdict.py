"""When a swap is called safe, and what a yes rests on."""

from __future__ import annotations

import pytest
from tests.packages import SIGNATURE

from hyperion.domain.answers import AnswerComparison, ClassAnswers, OutputAnswers, chance_of_at_least
from hyperion.domain.caller import CallerView
from hyperion.domain.step import StepVerdict, judge_step
from hyperion.domain.swap import judge_swap
from hyperion.domain.tensor import TensorSpec

SAME = CallerView(SIGNATURE)
MORE = CallerView(
    SIGNATURE.model_copy(
        update={"outputs": (*SIGNATURE.outputs, TensorSpec(name="z", dtype="int64", shape=("batch",)))}
    )
)
PATCHED = judge_step(SAME, "1.0.0", SAME, "1.0.1")


def answers(**found: object) -> AnswerComparison:
    known = {"dataset": "data", "rows": 100, "refused_before": 0, "refused_after": 0}
    return AnswerComparison.model_validate({**known, **found})


def classes(broken: int | None = None, mended: int | None = None) -> ClassAnswers:
    accuracy = None if broken is None else 0.9
    return ClassAnswers(
        changed_rows=7, changed_share=0.07, changes=(), accuracy_before=accuracy, accuracy_after=accuracy,
        mended_rows=mended, broken_rows=broken,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("step", "found", "words"),
    [
        (judge_step(MORE, "1.0.0", SAME, "2.0.0"), None, "callers must change: outputs.z"),
        (judge_step(SAME, "1.0.0", MORE, "1.0.1"), None, "minor is needed"),
        (judge_step(SAME, "1.0.0", SAME, "1.0.0"), None, "no step"),
        (PATCHED, answers(unavailable="no input x"), "could not be compared: no input x"),
        (PATCHED, answers(refused_after=3, lost_rows=3), "1.0.1 refuses 3 rows that 1.0.0 answers"),
        (PATCHED, answers(stray_rows=2), "NaN or infinity on 2 of 100 rows"),
        (PATCHED, answers(classes=classes(broken=20, mended=5)), "wrong more often"),
    ],
)
def test_no_says_why(step: StepVerdict, found: AnswerComparison | None, words: str) -> None:
    verdict = judge_swap(step, found, names=("m", "m"), is_identical=False)

    assert not verdict.safe
    assert words in verdict.because
    assert str(verdict).startswith("safe to swap: no, because ")


@pytest.mark.parametrize(
    ("step", "found", "words"),
    [
        (PATCHED, None, "how answers change was not measured"),
        (judge_step(SAME, "1.0.0", MORE, "1.1.0"), None, "need not change and gain something and 1.1.0 says so"),
        (judge_step(SAME, "1.1.0", SAME, "1.0.0"), None, "goes back"),
        (PATCHED, answers(classes=classes()), "7 of 100 predictions change (7.0%); without labels nobody knows"),
        (PATCHED, answers(classes=classes(broken=5, mended=4)), "4 rows mended, 5 broken"),
        (PATCHED, answers(outputs=(OutputAnswers(name="y", max_abs=0.5),)), "answers differ: y by at most 0.5"),
        (PATCHED, answers(outputs=(OutputAnswers(name="y", unavailable="-"),)), "no answer could be compared"),
    ],
)
def test_yes_says_what_it_rests_on(step: StepVerdict, found: AnswerComparison | None, words: str) -> None:
    verdict = judge_swap(step, found, names=("m", "m"), is_identical=False)

    assert verdict.safe
    assert words in verdict.because


def test_another_model_takes_no_ones_place_although_its_step_is_honest() -> None:
    verdict = judge_swap(PATCHED, None, names=("m", "zzz"), is_identical=False)

    assert str(verdict) == (
        "safe to swap: no, because B is another model, 'zzz': deploy would start a second deployment beside 'm' "
        "(name it in deployment.json to swap)"
    )


def test_a_few_rows_lost_are_chance_and_many_are_not() -> None:
    assert not classes(broken=4, mended=0).is_worse  # 1 in 16
    assert classes(broken=5, mended=0).is_worse  # 1 in 32
    assert not classes(broken=0, mended=0).is_worse
    assert not classes(broken=510, mended=500).is_worse
    assert classes(broken=600, mended=500).is_worse


@pytest.mark.parametrize(("count", "trials"), [(560, 1000), (500, 1000), (470, 1000)])
def test_the_normal_distribution_goes_on_where_the_binomial_one_ends(count: int, trials: int) -> None:
    assert chance_of_at_least(count, trials) == pytest.approx(chance_of_at_least(count + 1, trials + 2), abs=0.01)
