"""How right a classifier is: accuracy, precision, recall, F1 and the confusion matrix, by scikit-learn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hyperion.domain.document import JsonValue
from hyperion.domain.tensor import Signature, TensorSpec
from hyperion.errors import ConfigError, Problem
from hyperion.ports import Array, Batch, Tensors

ZERO_DIVISION = 0
"""Precision of a class that was never answered, and recall of one that never occurred, count as this."""
MAX_MATRIX_CLASSES = 200
"""A larger confusion matrix is not put into a report."""

Class = int | str
"""A class: its index (or the integer that the model's label output gives), or its name."""


class AccuracyMeter:
    """Collects what was right and what the model answered, batch by batch.

    The class comes from the model's own label output (integers or text, one a row) where the dataset's labels are of
    that kind, else from the largest of its class scores.

    Attributes:
        unavailable: Why there are no figures for this model, or None.
    """

    def __init__(self, signature: Signature, *, labels_are_text: bool, output: str | None = None) -> None:
        """Choose the output, unless ``output`` names it."""
        self._signature = signature
        self._names = signature.labels
        self._output = (
            _chosen_output(signature, labels_are_text=labels_are_text)
            if output is None
            else next((spec for spec in signature.outputs if spec.name == output), None)
        )
        self._true: list[Class] = []
        self._answered: list[Class] = []
        self.unavailable = None if self._output else "the model has neither an output of class scores nor one of labels"

    @property
    def output(self) -> str | None:
        """Name of the output that the class is taken from."""
        return None if self._output is None else self._output.name

    @property
    def rows(self) -> int:
        return len(self._true)

    @property
    def true(self) -> list[Class]:
        """Of each labelled row in order, its class."""
        return [*self._true]

    def add(self, batch: Batch, outputs: Tensors) -> None:
        """Note one batch and its outputs.

        Raises:
            ConfigError: A label is none of the model's classes; names file and row (code ``dataset.invalid``).
        """
        if self._output is None or batch.labels is None:
            return
        scores = np.asarray(outputs[self._output.name])[: batch.rows]
        true = [self._true_class(label, batch, row, scores) for row, label in enumerate(batch.labels.tolist())]
        self._true.extend(true)
        self._answered.extend(self.answers(outputs, batch.rows))

    def answers(self, outputs: Tensors, rows: int) -> list[Class]:
        """The class that the model gives each of the first ``rows`` rows; none where it has no output of classes."""
        if self._output is None:
            return []
        scores = np.asarray(outputs[self._output.name])[:rows]
        answered = scores.argmax(axis=-1) if _is_float(self._output) else scores.reshape(rows)
        return [self._spoken(value) for value in answered.tolist()]

    @property
    def right(self) -> list[bool]:
        """Of each labelled row in order, whether the answer is the label."""
        return [true == answered for true, answered in zip(self._true, self._answered, strict=True)]

    def figures(self) -> dict[str, JsonValue]:
        """Accuracy, per-class, macro and weighted figures, confusion matrix.

        Classes are those that occurred, in the labels or in the answers; macro averages are over them.
        """
        from sklearn.metrics import accuracy_score, precision_recall_fscore_support

        classes = sorted(set(self._true) | set(self._answered), key=lambda c: (isinstance(c, str), c))
        true, answered = self._encode(self._true, classes), self._encode(self._answered, classes)
        indices = list(range(len(classes)))
        names = [self.name(value) for value in classes]

        def averaged(average: str | None) -> Any:
            return precision_recall_fscore_support(
                true, answered, labels=indices, average=average, zero_division=ZERO_DIVISION
            )

        columns = zip(*averaged(None), strict=True)
        return {
            "accuracy": float(accuracy_score(true, answered)),
            "errors": int((true != answered).sum()),
            "labelled_rows": len(true),
            "class_output": self.output,
            "zero_division": ZERO_DIVISION,
            "macro": _three(averaged("macro")),
            "weighted": _three(averaged("weighted")),
            "per_class": {
                name: {**_three(column), "support": int(column[3])} for name, column in zip(names, columns, strict=True)
            },
            "confusion_matrix": _matrix(true, answered, names),
        }

    def matrix_unavailable(self) -> str | None:
        """Why the confusion matrix is null, or None."""
        count = len(set(self._true) | set(self._answered))
        if count <= MAX_MATRIX_CLASSES:
            return None
        return f"{count} classes make a matrix too large for a report (limit {MAX_MATRIX_CLASSES})"

    def _true_class(self, label: Class, batch: Batch, row: int, scores: Array) -> Class:
        if self._output is not None and self._output.dtype == "string":
            return self._spoken(label)
        if isinstance(label, str):
            if self._names is None or label not in self._names:
                raise _stray_label(label, batch, row, "one of the model's labels")
            return self._names.index(label)
        if self._output is not None and _is_float(self._output) and not 0 <= label < scores.shape[-1]:
            raise _stray_label(label, batch, row, f"a class from 0 to {scores.shape[-1] - 1}")
        return label

    def _spoken(self, value: Class) -> Class:
        """A class as the figures count it: the name where the model answers names, else the integer."""
        if self._output is not None and self._output.dtype == "string" and isinstance(value, int):
            return self._names[value] if self._names is not None and 0 <= value < len(self._names) else str(value)
        return value if isinstance(value, str) else int(value)

    def name(self, value: Class) -> str:
        """What the signature calls a class; else the class itself."""
        if isinstance(value, int) and self._names is not None and 0 <= value < len(self._names):
            return self._names[value]
        return str(value)

    @staticmethod
    def _encode(values: Sequence[Class], classes: Sequence[Class]) -> Array:
        index = {value: position for position, value in enumerate(classes)}
        return np.array([index[value] for value in values], dtype=np.int64)


def _chosen_output(signature: Signature, *, labels_are_text: bool) -> TensorSpec | None:
    scores = signature.class_output()
    spoken = [spec for spec in signature.outputs if spec.dtype in ("int64", "int32", "string") and _one_a_row(spec)]
    for spec in spoken:
        if spec.dtype == "string" or not labels_are_text:
            return spec
    return scores or (spoken[0] if spoken else None)


def _one_a_row(spec: TensorSpec) -> bool:
    return spec.shape is not None and (len(spec.shape) == 1 or (len(spec.shape) == 2 and spec.shape[1] == 1))


def _is_float(spec: TensorSpec) -> bool:
    return spec.dtype not in ("int64", "int32", "string")


def _matrix(true: Array, answered: Array, names: Sequence[str]) -> JsonValue:
    """Rows are the true classes, columns what was answered; counted here, since scikit-learn warns of one class."""
    size = len(names)
    if size > MAX_MATRIX_CLASSES:
        return None
    counts = np.bincount(true * size + answered, minlength=size * size).reshape(size, size)
    return {"labels": [*names], "counts": [[*row] for row in counts.tolist()]}


def _three(values: Any) -> dict[str, JsonValue]:
    return {"precision": float(values[0]), "recall": float(values[1]), "f1": float(values[2])}


def _stray_label(label: Class, batch: Batch, row: int, expected: str) -> ConfigError:
    place = f"row {batch.first_row + row}"
    message = f"{place}: label {label!r} is not {expected}"
    return ConfigError(
        f"{batch.source}, {message}",
        problems=[Problem(batch.source, message)],
        hint="labels are class numbers from 0, or names that the package's signature lists",
        code="dataset.invalid",
    )
