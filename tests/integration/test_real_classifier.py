"""A classifier that scikit-learn trained on real data: our figures are scikit-learn's own."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from tests.fakes.checks_host import checks_host, packaged
from tests.fakes.reporter import CollectingReporter

from hyperion.usecases.verify import verify_performance


@dataclass
class Iris:
    """Logistic regression on two of iris' four features, so that it errs, and its test rows."""

    model: onnx.ModelProto
    x: np.ndarray
    y: np.ndarray
    names: tuple[str, ...]
    predicted: np.ndarray


@pytest.fixture(scope="module")
def iris() -> Iris:
    from sklearn.datasets import load_iris
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import train_test_split

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter, about its own future
        from skl2onnx import to_onnx
    data = load_iris()
    x_train, x_test, y_train, y_test = train_test_split(
        data.data[:, :2].astype(np.float32), data.target, test_size=0.25, random_state=0, stratify=data.target
    )
    trained = LogisticRegression(max_iter=1000).fit(x_train, y_train)
    model = to_onnx(trained, x_train[:1], target_opset=17, options={"zipmap": False})
    return Iris(model, x_test, y_test, tuple(map(str, data.target_names)), trained.predict(x_test))


def check_against_scikit_learn(figures: dict[str, Any], iris: Iris, names: tuple[str, ...]) -> None:
    from sklearn.metrics import classification_report, confusion_matrix

    report = classification_report(iris.y, iris.predicted, target_names=names, output_dict=True)
    assert 0 < figures["errors"] == int((iris.y != iris.predicted).sum())
    assert figures["accuracy"] == pytest.approx(report["accuracy"])
    for ours, theirs in (("macro", "macro avg"), ("weighted", "weighted avg")):
        assert figures[ours]["precision"] == pytest.approx(report[theirs]["precision"])
        assert figures[ours]["recall"] == pytest.approx(report[theirs]["recall"])
        assert figures[ours]["f1"] == pytest.approx(report[theirs]["f1-score"])
    for name in names:
        assert figures["per_class"][name]["f1"] == pytest.approx(report[name]["f1-score"])
        assert figures["per_class"][name]["support"] == report[name]["support"]
    assert figures["confusion_matrix"]["labels"] == list(names)
    assert figures["confusion_matrix"]["counts"] == confusion_matrix(iris.y, iris.predicted).tolist()


def test_the_label_output_is_compared_with_class_numbers(tmp_path: Path, iris: Iris) -> None:
    host = checks_host(tmp_path)
    package = packaged(tmp_path, host, "iris", model=iris.model, golden=False, labels=None)
    (tmp_path / "data").mkdir()
    np.savez(tmp_path / "data" / "test.npz", **{iris.model.graph.input[0].name: iris.x, "label": iris.y})

    figures = verify_performance(host, package, tmp_path / "data", CollectingReporter(), batch_size=16).figures

    assert figures["class_output"] == "label"
    check_against_scikit_learn(figures, iris, ("0", "1", "2"))


def test_the_scores_are_compared_with_class_names_of_a_spreadsheet(tmp_path: Path, iris: Iris) -> None:
    host = checks_host(tmp_path)
    package = packaged(tmp_path, host, "iris", model=iris.model, golden=False, labels=iris.names)
    lines = [",".join([*map(str, row.tolist()), iris.names[c]]) for row, c in zip(iris.x, iris.y, strict=True)]
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "test.csv").write_text("length,width,label\n" + "\n".join(lines) + "\n")

    figures = verify_performance(host, package, tmp_path / "data", CollectingReporter()).figures

    assert figures["class_output"] == "probabilities"
    check_against_scikit_learn(figures, iris, iris.names)
