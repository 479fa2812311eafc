"""What a quantized form costs, from answers to figures, and when that breaks a budget."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError
from sklearn.metrics import f1_score

from hyperion.adapters.onnx.graph import interval_doubt
from hyperion.domain.loss import LossBudget, MeasuredLoss
from hyperion.domain.tensor import Signature, TensorSpec
from hyperion.errors import ConfigError, EngineError
from hyperion.ports import Array, Batch
from hyperion.quantization.loss import loss_by_classes, row_values
from hyperion.verification.loss import LossMeter

NAMES = ("cat", "dog", "owl")


def by_classes(metric: str, true: list[int], before: list[int], after: list[int]) -> MeasuredLoss:
    return loss_by_classes(metric, true, before, after, NAMES, output="y", seed=0)  # type: ignore[arg-type]


class TestClasses:
    def test_accuracy_falls_by_the_rows_that_were_right(self) -> None:
        found = by_classes("accuracy", [0, 0, 1, 1, 2], [0, 0, 1, 1, 0], [0, 1, 1, 1, 0])

        assert (found.before, found.after, found.rows) == (0.8, 0.6, 5)
        assert found.loss == pytest.approx(0.2)
        assert found.low < 0.2 < found.high

    def test_accuracy_may_rise_by_chance_and_the_interval_says_so(self) -> None:
        true = [0, 1] * 50
        found = by_classes("accuracy", true, [1, *true[1:]], true)

        assert found.loss == pytest.approx(-0.01)
        assert found.low < 0 < found.high

    def test_macro_f1_is_that_of_scikit_learn_over_the_classes_that_rows_have(self) -> None:
        random = np.random.default_rng(0)
        true, before, after = (random.integers(0, 2, 200).tolist() for _ in range(3))

        found = by_classes("f1", true, before, after)

        for value, answered in ((found.before, before), (found.after, after)):
            assert value == pytest.approx(f1_score(true, answered, labels=[0, 1], average="macro"))

    @pytest.mark.parametrize("metric", ["accuracy", "f1"])
    def test_rows_that_all_stayed_as_they_were_leave_a_doubt_about_rows_unseen(self, metric: str) -> None:
        true = [0, 1] * 200

        found = by_classes(metric, true, true, true)

        assert found.loss == 0.0
        assert (found.low, found.high) == pytest.approx((-0.0095, 0.0095), abs=5e-4)

    def test_the_method_names_the_bootstrap_that_found_nothing_to_vary(self) -> None:
        true = [0, 1] * 200

        still, moved = by_classes("f1", true, true, true), by_classes("f1", true, true, [1, *true[1:]])

        assert still.method == "paired bootstrap that varies nowhere, ± Wilson's upper end for 0 of 400 rows"
        assert moved.method == "paired bootstrap, percentiles"

    def test_an_interval_lies_within_what_a_loss_can_be(self) -> None:
        found = by_classes("f1", [0] * 20, [0] * 20, [1] * 20)

        assert (found.loss, found.high) == (1.0, 1.0)
        assert 0.8 < found.low < 1.0

    def test_a_class_that_only_answers_have_is_no_class_of_its_own(self) -> None:
        found = by_classes("f1", [0, 0, 1], [0, 0, 1], [0, 2, 1])

        assert [item.name for item in found.classes] == ["cat", "dog"]

    def test_precision_may_rise_while_recall_falls(self) -> None:
        true = [0] * 10 + [1] * 10
        before = [0] * 12 + [1] * 8
        found = by_classes("accuracy", true, before, [0] * 8 + [1] * 12)
        cat = found.classes[0]

        assert cat.precision_after > cat.precision_before
        assert (cat.recall_before, cat.recall_after, cat.rows_lost) == (1.0, 0.8, 2)

    def test_a_row_without_numbers_is_wrong(self) -> None:
        assert by_classes("top1", [0, 1], [0, 1], [0, -1]).after == 0.5


class TestBudget:
    def of(self, after: list[int]) -> MeasuredLoss:
        return by_classes("accuracy", [0] * 98 + [1] * 2, [0] * 98 + [1] * 2, after)

    def test_a_loss_of_just_the_limit_keeps_it(self) -> None:
        found = self.of([0] * 98 + [1, 0])

        assert found.breaks(LossBudget(metric="accuracy", max_loss=0.01)) == ()

    def test_a_larger_one_breaks_it(self) -> None:
        found = self.of([0] * 100)

        assert "the loss of accuracy is 0.02, more than 0.01" in found.breaks(
            LossBudget(metric="accuracy", max_loss=0.01)
        )

    def test_a_class_breaks_it_where_the_whole_does_not(self) -> None:
        budget = LossBudget(metric="accuracy", max_loss=0.05, max_class_loss=0.1)

        assert self.of([0] * 100).breaks(budget) == (
            "the recall of class 'dog' falls by 1 (2 of 2 rows), more than 0.1",
        )

    def test_one_row_of_a_class_proves_nothing(self) -> None:
        budget = LossBudget(metric="accuracy", max_loss=0.05, max_class_loss=0.1)

        assert self.of([0] * 98 + [1, 0]).breaks(budget) == ()

    def test_a_limit_for_classes_needs_a_metric_by_classes(self) -> None:
        with pytest.raises(ValidationError, match="needs a metric by classes"):
            LossBudget(metric="cosine", max_loss=0.01, max_class_loss=0.1)


class TestDoubt:
    def loss(self, loss: float, high: float, rows: int = 400) -> MeasuredLoss:
        return MeasuredLoss(
            metric="cosine", rows=rows, before=1.0, after=1 - loss, loss=loss, low=2 * loss - high, high=high,
            method="bootstrap, percentiles", output="y",
        )  # fmt: skip

    def doubt(self, limit: float, found: MeasuredLoss) -> str | None:
        return interval_doubt(LossBudget(metric="cosine", max_loss=limit), found)

    def test_an_interval_within_the_budget_leaves_none(self) -> None:
        assert self.doubt(0.02, self.loss(0.005, 0.015)) is None

    def test_it_tells_how_many_rows_would_make_the_interval_end_at_the_budget(self) -> None:
        assert self.doubt(0.01, self.loss(0.005, 0.015)) == (
            "the loss may be as large as 0.015 (95 % interval), above the budget of 0.01: 400 rows tell it to ±0.01 "
            "only; about 1,600 would tell whether it is within"
        )

    def test_small_figures_keep_their_digits_and_more_rows_are_more_than_there_are(self) -> None:
        assert self.doubt(2e-5, self.loss(1.2e-5, 2.00001e-5)) == (
            "the loss may be as large as 2.00001e-05 (95 % interval), above the budget of 2e-05: 400 rows tell it to "
            "±8e-06 only; about 401 would tell whether it is within"
        )

    @pytest.mark.parametrize("loss", [0.01, 0.012])
    def test_no_number_of_rows_is_named_where_the_loss_itself_is_at_its_limit(self, loss: float) -> None:
        found = self.doubt(0.01, self.loss(loss, 0.02))

        assert found is not None
        assert found.endswith("only")


class TestValues:
    def test_cosines_of_rows(self) -> None:
        want = np.array([[1.0, 0.0], [1.0, 1.0]])

        assert row_values("cosine", want, np.array([[2.0, 0.0], [1.0, -1.0]])) == pytest.approx([1.0, 0.0])

    def test_the_divergence_of_probabilities_and_of_scores_is_the_same(self) -> None:
        scores = np.random.default_rng(0).normal(size=(5, 4))
        other = scores + 0.1 * np.random.default_rng(1).normal(size=(5, 4))

        def softmax(values: Array) -> Array:
            return np.asarray(np.exp(values) / np.exp(values).sum(axis=1, keepdims=True))

        found = row_values("kl", scores, other)
        assert found == pytest.approx(row_values("kl", softmax(scores), softmax(other)))
        assert (found > 0).all()

    @pytest.mark.parametrize(("metric", "worst"), [("cosine", 0.0), ("kl", 27.63)])
    def test_rows_without_numbers_are_as_bad_as_can_be(self, metric: str, worst: float) -> None:
        found = row_values(metric, np.array([[0.5, 0.5]]), np.array([[np.nan, 1.0]]))  # type: ignore[arg-type]

        assert found == pytest.approx([worst], abs=0.01)

    def test_rows_that_float_has_no_numbers_for_are_left_out(self) -> None:
        assert row_values("cosine", np.array([[np.nan, 1.0]]), np.ones((1, 2))).size == 0


class TestMeter:
    """Outputs of a model with a label output beside its scores."""

    SIGNATURE = Signature(
        inputs=(TensorSpec(name="x", dtype="float32", shape=("n", 2)),),
        outputs=(
            TensorSpec(name="label", dtype="int64", shape=("n",)),
            TensorSpec(name="scores", dtype="float32", shape=("n", 3)),
        ),
        labels=NAMES,
    )

    def batch(self, labels: list[object]) -> Batch:
        text = isinstance(labels[0], str)
        held = np.array(labels, dtype=object if text else np.int64)
        return Batch({"x": np.zeros((len(labels), 2), np.float32)}, len(labels), held, "part.npz", 7)

    def outputs(self, answers: list[int]) -> dict[str, Array]:
        return {"label": np.array(answers), "scores": np.eye(3, dtype=np.float32)[answers]}

    @pytest.mark.parametrize("labels", [["cat", "dog", "owl"], [0, 1, 2]])
    def test_labels_may_be_names_or_numbers(self, labels: list[object]) -> None:
        meter = LossMeter(self.SIGNATURE, "accuracy", labels_are_text=isinstance(labels[0], str))
        batch = self.batch(labels)

        meter.add(batch, meter.reference(batch, self.outputs([0, 1, 2])), self.outputs([0, 1, 1]))

        found = meter.loss(0)
        assert found is not None
        assert (found.before, found.rows) == (1.0, 3)
        assert [item.name for item in found.classes] == list(NAMES)

    def test_a_stray_label_names_file_and_row(self) -> None:
        meter = LossMeter(self.SIGNATURE, "accuracy", "scores")
        batch = self.batch([0, 9, 1])

        with pytest.raises(ConfigError, match=r"part\.npz, row 8: label 9"):
            meter.add(batch, meter.reference(batch, self.outputs([0, 1, 2])), self.outputs([0, 1, 2]))

    def test_an_unknown_output_is_refused(self) -> None:
        with pytest.raises(ConfigError, match="no output 'logits'; the model has 'label', 'scores'"):
            LossMeter(self.SIGNATURE, "top1", "logits")

    @pytest.mark.parametrize("metric", ["top1", "accuracy"])
    def test_an_answer_of_other_rows_is_an_error_and_no_crash(self, metric: str) -> None:
        meter = LossMeter(self.SIGNATURE, metric)  # type: ignore[arg-type]
        batch = self.batch([0, 1, 2])

        with pytest.raises(EngineError, match="expected an answer for 3 rows, found 2"):
            meter.add(batch, meter.reference(batch, self.outputs([0, 1, 2])), self.outputs([0, 1]))

    def test_every_position_of_a_sequence_has_its_own_distribution(self) -> None:
        outputs = (TensorSpec(name="logits", dtype="float32", shape=("n", "s", 3)),)
        meter = LossMeter(self.SIGNATURE.model_copy(update={"outputs": outputs, "labels": None}), "kl")
        batch, found = self.batch([0, 1]), {"logits": np.zeros((2, 4, 3), np.float32)}

        meter.add(batch, meter.reference(batch, found), found)

        loss = meter.loss(0)
        assert loss is not None
        assert (loss.rows, loss.loss) == (8, 0.0)

    def test_rows_that_only_fill_a_batch_do_not_count(self) -> None:
        meter = LossMeter(self.SIGNATURE, "cosine", "scores")
        full = self.batch([0, 1, 2])
        batch = Batch(full.feeds, 2, None, "part.npz", 0)

        meter.add(batch, meter.reference(batch, self.outputs([0, 1, 2])), self.outputs([0, 1, 0]))

        found = meter.loss(0)
        assert found is not None
        assert (found.rows, found.loss) == (2, 0.0)
