"""Accuracy figures: which output holds the class, how labels are read, what is counted."""

from __future__ import annotations

import numpy as np
import pytest

from hyperion.domain.tensor import Signature, TensorSpec
from hyperion.errors import ConfigError
from hyperion.ports import Batch
from hyperion.verification.accuracy import AccuracyMeter

X = TensorSpec(name="x", dtype="float32", shape=("b", 2))
SCORES = TensorSpec(name="scores", dtype="float32", shape=("b", 3))
LABEL = TensorSpec(name="label", dtype="int64", shape=("b",))
TEXT = TensorSpec(name="label", dtype="string", shape=("b",))
CATS = ("ant", "bee", "cat")


def batch(labels: list[int] | list[str], rows: int | None = None) -> Batch:
    dtype = object if isinstance(labels[0], str) else np.int64
    return Batch({}, rows or len(labels), np.array(labels, dtype=dtype), "part0.npz", 100)


def meter(*outputs: TensorSpec, text: bool = False, labels: tuple[str, ...] | None = None) -> AccuracyMeter:
    return AccuracyMeter(Signature(inputs=(X,), outputs=outputs, labels=labels), labels_are_text=text)


def scores(*classes: int) -> dict[str, np.ndarray]:
    return {"scores": np.eye(3, dtype=np.float32)[list(classes)]}


def test_figures_are_those_of_a_confusion_matrix_counted_by_hand() -> None:
    subject = meter(SCORES, labels=CATS)
    subject.add(batch([0, 0, 1, 2]), scores(0, 1, 1, 2))
    subject.add(batch([2, 2]), scores(2, 0))

    figures = subject.figures()

    assert figures["accuracy"] == pytest.approx(4 / 6)
    assert figures["errors"] == 2
    assert figures["confusion_matrix"] == {"labels": [*CATS], "counts": [[1, 1, 0], [0, 1, 0], [1, 0, 2]]}
    assert figures["per_class"]["ant"] == {"precision": 0.5, "recall": 0.5, "f1": 0.5, "support": 2}
    assert figures["per_class"]["cat"]["recall"] == pytest.approx(2 / 3)
    assert figures["macro"]["precision"] == pytest.approx((0.5 + 0.5 + 1) / 3)
    assert figures["weighted"]["recall"] == pytest.approx(4 / 6)


def test_a_class_that_was_never_answered_counts_zero_and_that_is_stated() -> None:
    subject = meter(SCORES)
    subject.add(batch([0, 1]), scores(0, 0))

    figures = subject.figures()

    assert figures["zero_division"] == 0
    assert figures["per_class"]["1"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 1}
    assert "2" not in figures["per_class"]


def test_text_labels_are_mapped_by_the_names_of_the_signature() -> None:
    subject = meter(SCORES, text=True, labels=CATS)
    subject.add(batch(["cat", "ant"]), scores(2, 0))

    assert subject.figures()["accuracy"] == 1.0


def test_the_models_own_label_output_is_believed_before_its_scores() -> None:
    subject = meter(LABEL, SCORES)
    subject.add(batch([10, 20]), {**scores(0, 1), "label": np.array([10, 20])})

    assert subject.output == "label"
    assert list(subject.figures()["per_class"]) == ["10", "20"]


def test_integer_labels_meet_a_model_that_answers_names() -> None:
    subject = meter(TEXT, labels=CATS)
    subject.add(batch([1, 2]), {"label": np.array(["bee", "ant"], dtype=object)})

    assert subject.figures()["accuracy"] == 0.5
    assert list(subject.figures()["per_class"]) == ["ant", "bee", "cat"]


def test_rows_that_only_pad_a_fixed_batch_are_not_counted() -> None:
    subject = meter(SCORES)
    subject.add(batch([1, 1], rows=2), scores(1, 1, 0, 0))

    assert subject.rows == 2
    assert subject.figures()["accuracy"] == 1.0


@pytest.mark.parametrize(
    ("labels", "said"),
    [([1, 3], "part0.npz, row 101: label 3 is not a class from 0 to 2"), (["dog"], "row 100: label 'dog' is not one")],
)
def test_a_label_that_the_model_cannot_answer_is_named_with_file_and_row(labels: list[int], said: str) -> None:
    subject = meter(SCORES, text=isinstance(labels[0], str), labels=CATS)

    with pytest.raises(ConfigError, match="label") as caught:
        subject.add(batch(labels), scores(*[0] * len(labels)))

    assert said in caught.value.message
    assert caught.value.code == "dataset.invalid"


def test_a_model_that_is_no_classifier_has_no_accuracy_and_says_why() -> None:
    subject = meter(TensorSpec(name="y", dtype="float32", shape=("b", 1)))

    assert subject.output is None
    assert subject.unavailable is not None


def test_a_matrix_of_very_many_classes_is_left_out_and_says_why() -> None:
    subject = meter(LABEL)
    values = list(range(201))
    subject.add(batch(values), {"label": np.array(values)})

    assert subject.figures()["confusion_matrix"] is None
    assert "201 classes" in str(subject.matrix_unavailable())
