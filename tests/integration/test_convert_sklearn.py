"""scikit-learn estimators become model directories that answer alike (the converter itself, without its child)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import joblib
import numpy as np
import onnxruntime
import pytest
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_digits, load_iris
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
)
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression, RidgeClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import LinearSVC
from skops.io import dump

from hyperion.adapters.conversion.converted_model import ConvertedModel
from hyperion.adapters.conversion.estimator_rows import sample_rows
from hyperion.adapters.conversion.from_sklearn import convert_sklearn
from hyperion.domain.manifest import ModelCard
from hyperion.domain.processing import ClassesOutput, Processing, TableInput, VectorOutput
from hyperion.errors import ModelSourceError
from hyperion.format.strict_json import parse_document

X, Y = load_iris(return_X_y=True)
NAMES = np.array(["setosa", "versicolor", "virginica"])
TREE = "sklearn.tree._tree.Tree"
ADAM = "sklearn.neural_network._stochastic_optimizers.AdamOptimizer"


def converted(estimator: Any, folder: Path, *trusted: str) -> ConvertedModel:
    source = folder / "model.skops"
    dump(estimator, source)
    made = ConvertedModel(folder / "made")
    made.folder.mkdir()
    convert_sklearn(source, trusted, made)
    return made


def processing(made: ConvertedModel) -> Processing:
    path = made.folder / "config" / "processing.json"
    return parse_document(Processing, path.read_bytes(), str(path))


def answers(made: ConvertedModel, feeds: dict[str, Any]) -> list[Any]:
    return onnxruntime.InferenceSession(made.model, providers=["CPUExecutionProvider"]).run(None, feeds)


def test_labels_are_scikit_learns_on_every_row_and_scaling_stays_in_the_graph(tmp_path: Path) -> None:
    digits, label = load_digits(return_X_y=True)
    model = make_pipeline(StandardScaler(), MLPClassifier((32,), max_iter=30, random_state=0))
    with pytest.warns(match="converge"):
        model.fit(digits, label)

    made = converted(model, tmp_path, ADAM)

    found = answers(made, {"X": digits.astype(np.float32)})
    assert np.array_equal(found[0], model.predict(digits))
    assert np.abs(found[1] - model.predict_proba(digits)).max() < 1e-6
    assert any("all 256 labels" in note for note in made.notes)


def test_columns_and_classes_go_into_processing(tmp_path: Path) -> None:
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, NAMES[Y])
    model[0].feature_names_in_ = np.array(["sepal length", "sepal width", "petal length", "petal width"], dtype=object)

    found = processing(converted(model, tmp_path))

    assert isinstance(found.input, TableInput)
    assert isinstance(found.output, ClassesOutput)
    assert [column.name for column in found.input.columns] == list(model[0].feature_names_in_)
    assert found.output.labels == tuple(NAMES)


def test_text_columns_become_inputs_of_their_own(tmp_path: Path) -> None:
    rows = np.array([[1.0, "red", 3.0], [2.0, "blue", 1.0], [3.0, "red", 2.0], [0.0, "green", 2.0]] * 5, dtype=object)
    table = make_column_transformer((StandardScaler(), [0, 2]), (OneHotEncoder(), [1]))
    model = make_pipeline(table, LogisticRegression()).fit(rows, [0, 1, 0, 1] * 5)
    model[0].feature_names_in_ = np.array(["size", "colour of it", "age"], dtype=object)

    made = converted(model, tmp_path)

    found = processing(made).input
    assert isinstance(found, TableInput)
    assert [(column.input, column.categories) for column in found.columns] == [
        ("size", None), ("colour_of_it", ("blue", "green", "red")), ("age", None)
    ]  # fmt: skip
    assert found.columns[1].name == "colour of it"
    numbers = {"size": rows[:, [0]].astype(np.float32), "age": rows[:, [2]].astype(np.float32)}
    expected = model[-1].predict(model[0].transform(rows))
    assert np.array_equal(answers(made, {**numbers, "colour_of_it": rows[:, [1]]})[0], expected)


def test_a_forest_needs_its_type_trusted_and_is_said_to_hold_nothing_to_quantize(tmp_path: Path) -> None:
    model = RandomForestClassifier(5, random_state=0).fit(X, Y)

    with pytest.raises(ModelSourceError) as refusal:
        converted(model, tmp_path)
    (tmp_path / "made").rmdir()
    made = converted(model, tmp_path, TREE)

    assert (refusal.value.code, f"--trust-type {TREE}" in (refusal.value.hint or "")) == (
        "model_source.untrusted_type",
        True,
    )
    assert np.array_equal(answers(made, {"X": X.astype(np.float32)})[0], model.predict(X))
    assert any("nothing to quantize" in note for note in made.notes)


@pytest.mark.parametrize("estimator", [LinearSVC(), RidgeClassifier()])
def test_two_classes_with_one_score_keep_both_labels(estimator: Any, tmp_path: Path) -> None:
    made = converted(estimator.fit(X, Y > 0), tmp_path)

    found = processing(made).output
    assert isinstance(found, ClassesOutput)
    assert (found.labels, found.activation) == (("False", "True"), "sigmoid")
    assert any("no probabilities" in note for note in made.notes)


@pytest.mark.parametrize("estimator", [LinearRegression(), PCA(2)])
def test_numbers_come_out_as_a_vector(estimator: Any, tmp_path: Path) -> None:
    made = converted(estimator.fit(X, X @ [1.0, 2.0, 3.0, 4.0]), tmp_path)

    assert isinstance(processing(made).output, VectorOutput)


def test_what_it_was_is_an_annotation_that_depends_on_no_host(tmp_path: Path) -> None:
    made = converted(LogisticRegression(max_iter=1000).fit(X, Y), tmp_path)

    card = parse_document(ModelCard, (made.folder / "hyperion.json").read_bytes(), "card")
    assert card.annotations["converted.from"] == "scikit-learn LogisticRegression"
    assert str(tmp_path) not in "".join(path.read_text(errors="replace") for path in made.folder.glob("*.json"))


def test_the_same_estimator_gives_the_same_bytes(tmp_path: Path) -> None:
    model = LogisticRegression(max_iter=1000).fit(X, Y)
    folders = [tmp_path / "one", tmp_path / "other"]
    for folder in folders:
        folder.mkdir()

    one, other = (converted(model, folder).model.read_bytes() for folder in folders)

    assert one == other


@pytest.mark.parametrize("thing", [{"weights": [1.0]}, LogisticRegression()])
def test_what_is_no_fitted_estimator_is_refused(thing: Any, tmp_path: Path) -> None:
    with pytest.raises(ModelSourceError) as refusal:
        converted(thing, tmp_path)

    assert refusal.value.code == "model_source.not_convertible"


def test_a_joblib_file_gives_what_a_skops_file_gives(tmp_path: Path) -> None:
    model = LogisticRegression(max_iter=1000).fit(X, Y)
    joblib.dump(model, tmp_path / "model.joblib")
    made = ConvertedModel(tmp_path / "pickled")
    made.folder.mkdir()

    convert_sklearn(tmp_path / "model.joblib", (), made)

    assert made.model.read_bytes() == converted(model, tmp_path).model.read_bytes()


PREDICTOR = "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor"


def with_gaps(rows: Any) -> Any:
    gaps = np.array(rows)
    gaps[np.random.default_rng(0).random(gaps.shape) < 0.1] = np.nan
    return gaps


@pytest.mark.parametrize("classes", [2, 3])
def test_histogram_gradient_boosting_answers_alike_also_where_values_are_missing(classes: int, tmp_path: Path) -> None:
    rows = with_gaps(X).astype(np.float32)
    model = HistGradientBoostingClassifier(max_iter=3, max_leaf_nodes=6).fit(rows, Y % classes)

    made = converted(model, tmp_path, PREDICTOR)

    found = answers(made, {"X": rows})
    assert np.array_equal(found[0], model.predict(rows))
    assert np.abs(found[1] - model.predict_proba(rows)).max() < 1e-6
    table = processing(made).input
    assert isinstance(table, TableInput)
    assert {column.missing for column in table.columns} == {"nan"}


def test_histogram_gradient_boosting_of_large_numbers_is_compared_around_its_splits(tmp_path: Path) -> None:
    rows = 1000 * X + 5000
    model = HistGradientBoostingRegressor(max_iter=8).fit(rows, X[:, 0])

    made = converted(model, tmp_path, PREDICTOR)

    assert np.abs(answers(made, {"X": rows.astype(np.float32)})[0][:, 0] - model.predict(rows)).max() < 1e-5
    drawn = sample_rows(model, 4, 256)
    assert np.nanmin(drawn[:, 0]) > 4000
    assert np.isnan(drawn).any()


def test_gradient_boosting_that_splits_by_categories_is_refused(tmp_path: Path) -> None:
    rows = np.column_stack([np.arange(200) % 7, np.arange(200)]).astype(float)
    model = HistGradientBoostingRegressor(max_iter=4, categorical_features=[0]).fit(rows, rows[:, 0] % 3)
    joblib.dump(model, tmp_path / "model.joblib")
    made = ConvertedModel(tmp_path / "made")
    made.folder.mkdir()

    with pytest.raises(ModelSourceError, match="by categories") as refusal:
        convert_sklearn(tmp_path / "model.joblib", (), made)

    assert refusal.value.code == "model_source.not_convertible"


@pytest.mark.parametrize("vectorizer", [TfidfVectorizer, CountVectorizer])
def test_a_pipeline_that_starts_from_texts_is_refused_with_what_to_do_instead(vectorizer: Any, tmp_path: Path) -> None:
    texts = ["a good day", "a bad night", "good sun", "bad rain"]
    model = make_pipeline(vectorizer(), LogisticRegression()).fit(texts, [1, 0, 1, 0])

    with pytest.raises(ModelSourceError, match="starts from texts") as refusal:
        converted(model, tmp_path)

    assert "pipeline[1:]" in str(refusal.value.hint)
