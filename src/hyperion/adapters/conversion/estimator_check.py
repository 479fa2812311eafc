"""Whether a converted scikit-learn estimator answers as before, on generated rows; runs in the child only."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hyperion.adapters.conversion.estimator_rows import sample_rows
from hyperion.errors import ModelSourceError

if TYPE_CHECKING:
    from onnx import ModelProto

    from hyperion.domain.processing import Column

INPUT = "X"
"""Name of the one input of a table of numbers."""
SAMPLE_ROWS = 256
NEAR_TIE = 1e-4
"""Scores of two classes that are closer may change places by rounding: ONNX computes in single precision."""
LARGEST_DIFFERENCE = 0.01
"""Share of the outputs' standard deviation beyond which a conversion is wrong rather than rounded."""


def check_alike(estimator: Any, model: ModelProto, columns: Sequence[Column], source: Path) -> str:
    """Run both on generated rows; says in words how they compare.

    The widths of the model's outputs, which some converters of skl2onnx state wrongly, become those that were found.

    Raises:
        ModelSourceError: A label is another one and no near tie, or numbers are apart by more than rounding
            (code ``model_source.conversion_differs``).
    """
    import onnxruntime

    rows, feeds = _samples(estimator, columns)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="X does not have valid feature names")
            ask = estimator.predict if hasattr(estimator, "predict") else estimator.transform
            expected = np.asarray(ask(rows))
            chances = estimator.predict_proba(rows) if hasattr(estimator, "predict_proba") else None
    except ValueError as error:
        return f"not compared with scikit-learn, for the estimator takes no generated rows: {error}"
    answers = [np.asarray(answer) for answer in session.run(None, feeds)]
    _settle_widths(model, answers)
    if class_labels(estimator) is None or expected.dtype.kind == "f":
        return _compare_numbers(expected, answers[0], source)
    return _compare_labels(expected, chances, answers, source)


def class_labels(estimator: Any) -> list[str] | None:
    """Names of the classes; None of several outputs, and where there are none."""
    classes = getattr(estimator, "classes_", None)
    if not isinstance(classes, np.ndarray) or classes.ndim != 1:
        return None
    return [str(name) for name in classes]


def _samples(estimator: Any, columns: Sequence[Column]) -> tuple[NDArray[Any], Mapping[str, NDArray[Any]]]:
    """Generated rows, as scikit-learn takes them and as the converted model takes them."""
    numbers = sample_rows(estimator, len(columns), SAMPLE_ROWS)
    if not columns[0].input:
        return numbers.astype(np.float64), {INPUT: numbers}
    random, rows = np.random.default_rng(0), numbers.astype(object)
    for at, column in enumerate(columns):
        if column.categories is not None:
            rows[:, at] = random.choice(np.array(column.categories, dtype=object), len(rows))
    feeds = {
        column.input or INPUT: numbers[:, [at]] if column.categories is None else rows[:, [at]]
        for at, column in enumerate(columns)
    }
    return rows, feeds


def _settle_widths(model: ModelProto, answers: Sequence[NDArray[Any]]) -> None:
    for value, answer in zip(model.graph.output, answers, strict=True):
        sizes = value.type.tensor_type.shape.dim
        if answer.ndim == len(sizes) == 2:
            sizes[1].dim_value = answer.shape[1]


def _compare_labels(expected: NDArray[Any], chances: Any, answers: Sequence[NDArray[Any]], source: Path) -> str:
    rows = len(expected)
    differing = np.flatnonzero(expected != answers[0].reshape(expected.shape))
    scores = np.sort(answers[1].reshape(rows, -1), axis=1)
    gaps = scores[:, -1] - scores[:, -2] if scores.shape[1] > 1 else np.abs(scores[:, 0])
    clear = [row for row in differing if gaps[row] > NEAR_TIE]
    if clear:
        raise _differs(source, f"{len(clear)} of {rows} labels are others than scikit-learn's")
    said = f"all {rows} labels of generated rows are scikit-learn's"
    if len(differing):
        said = f"{rows - len(differing)} of {rows} labels of generated rows are scikit-learn's, the others are ties"
    if not isinstance(chances, np.ndarray):
        return said
    return f"{said}; probabilities differ by at most {float(np.abs(chances - answers[1]).max()):.1g}"


def _compare_numbers(expected: Any, found: NDArray[Any], source: Path) -> str:
    numbers = np.asarray(expected.toarray() if hasattr(expected, "toarray") else expected, dtype=np.float64)
    spread = float(np.std(numbers)) or 1.0
    difference = float(np.abs(numbers.reshape(found.shape) - found).max())
    if not difference <= LARGEST_DIFFERENCE * spread:
        raise _differs(source, f"outputs differ by {difference:.1g}, their standard deviation is {spread:.1g}")
    return f"outputs of {len(found)} generated rows differ by at most {difference:.1g} from scikit-learn's"


def _differs(source: Path, what: str) -> ModelSourceError:
    return ModelSourceError(
        f"{source}: the converted model answers otherwise: {what}",
        hint="this estimator does not bear single precision; use another one, or export it yourself",
        code="model_source.conversion_differs",
    )
