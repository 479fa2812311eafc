"""Texts and rows over HTTP: the same answers as `hyperion run`, and bit-equal to tensors."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from tests.packaging import load, pack
from tests.processing_models import table_dir, text_dir
from tests.serving_kit import rewritten, supervisor

from hyperion.domain.prediction import ClassPrediction
from hyperion.domain.raw_input import RawTexts

TEXTS = ["The cat sat on the mat.", "Oil rose in London", "Anna flew to Berlin on Monday", "wheat"]
ROWS: list[dict[str, Any]] = [
    {"age": 33, "colour": "red", "income": 1500.5},
    {"age": 61.25, "colour": "blue", "income": ""},
    {"age": 18, "colour": "green", "income": 900},
]


class Served:
    """One deployment and the package that it serves."""

    def __init__(self, url: str, package: Path) -> None:
        self.url = url
        self.package = package

    def infer(self, *inputs: dict[str, Any], **more: Any) -> httpx.Response:
        return httpx.post(f"{self.url}/infer", json={"inputs": list(inputs), **more}, trust_env=False)

    def outputs(self, *inputs: dict[str, Any], **more: Any) -> dict[str, dict[str, Any]]:
        answer = self.infer(*inputs, **more)
        assert answer.status_code == 200, answer.text
        return {output["name"]: output for output in answer.json()["outputs"]}

    def metadata(self) -> dict[str, Any]:
        found: dict[str, Any] = httpx.get(self.url, trust_env=False).json()
        return found


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Served]]:
    """A classifier of texts, one of rows, and a package whose config/processing.json is of no known kind."""
    folder = tmp_path_factory.mktemp("raw")
    directories = {"texts": text_dir(folder / "texts"), "rows": table_dir(folder / "rows")}
    packages = {name: folder / f"{name}.hyperion" for name in directories}
    for name, directory in directories.items():
        pack(directory, packages[name], "none")
    packages["unknown"] = rewritten(
        packages["texts"], folder / "unknown.hyperion", {"config/processing.json": b'{"scale": 255}'}
    )
    with supervisor(folder / "home") as running:
        urls = {name: running.deploy(package, name).url for name, package in packages.items()}
        yield {name: Served(f"{url}/v2/models/{name}", packages[name]) for name, url in urls.items()}


def texts(*given: str, name: str = "text") -> dict[str, Any]:
    return {"name": name, "datatype": "BYTES", "shape": [len(given)], "data": list(given)}


def as_json(name: str, array: np.ndarray) -> dict[str, Any]:
    datatype = {"int64": "INT64", "float32": "FP32"}[array.dtype.name]
    return {"name": name, "datatype": datatype, "shape": list(array.shape), "data": array.ravel().tolist()}


def columns(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    def column(name: str, datatype: str, values: list[Any]) -> dict[str, Any]:
        return {"name": name, "datatype": datatype, "shape": [len(values)], "data": values}

    return [
        column("age", "FP64", [row["age"] for row in rows]),
        column("colour", "BYTES", [row["colour"] for row in rows]),
        column("income", "BYTES", [str(row["income"]) for row in rows]),
    ]


def test_a_text_gets_the_label_and_probability_that_the_library_gives(served: dict[str, Served]) -> None:
    outputs = served["texts"].outputs(texts(*TEXTS))

    expected = load(served["texts"].package).predict(TEXTS)
    assert [found.label for found in expected if isinstance(found, ClassPrediction)] == outputs["label"]["data"]
    assert [found.score for found in expected if isinstance(found, ClassPrediction)] == pytest.approx(
        outputs["score"]["data"], rel=1e-6
    )
    assert (outputs["label"]["datatype"], outputs["score"]["datatype"]) == ("BYTES", "FP32")


def test_texts_and_their_tensors_get_bit_equal_outputs(served: dict[str, Served]) -> None:
    feeds = load(served["texts"].package).processor.encode(RawTexts(TEXTS)).feeds
    tensors = served["texts"].outputs(*(as_json(name, array) for name, array in feeds.items()))
    raw = served["texts"].outputs(texts(*TEXTS))

    assert raw["logits"] == tensors["logits"]
    assert set(tensors) == {"logits"}


def test_pairs_of_texts_get_bit_equal_outputs_too(served: dict[str, Served]) -> None:
    firsts, seconds = TEXTS[:2], TEXTS[2:]
    feeds = load(served["texts"].package).processor.encode(RawTexts(firsts, seconds)).feeds

    tensors = served["texts"].outputs(*(as_json(name, array) for name, array in feeds.items()))
    raw = served["texts"].outputs(texts(*firsts), texts(*seconds, name="text_pair"))

    assert raw["logits"] == tensors["logits"]


def test_rows_get_bit_equal_outputs_to_their_tensors(served: dict[str, Served]) -> None:
    scaled = [
        [(row["age"] - 40.0) / 12.5, ["red", "green", "blue"].index(row["colour"]), float(row["income"] or 2500) / 1000]
        for row in ROWS
    ]

    tensors = served["rows"].outputs(as_json("row", np.array(scaled, np.float32)))
    raw = served["rows"].outputs(*columns(ROWS))

    assert raw["probabilities"] == tensors["probabilities"]
    assert raw["label"] == tensors["label"]  # the model's own output of that name


def test_answers_step_aside_where_the_model_has_an_output_of_their_name(served: dict[str, Served]) -> None:
    raw = served["rows"].outputs(*columns(ROWS))

    classes = [["no", "yes"][index] for index in raw["label"]["data"]]
    assert raw["predicted_label"]["data"] == classes


def test_only_the_asked_outputs_are_given(served: dict[str, Served]) -> None:
    assert list(served["texts"].outputs(texts("cat"), outputs=[{"name": "label"}])) == ["label"]
    assert list(served["texts"].outputs(texts("cat"), outputs=[{"name": "logits"}])) == ["logits"]


def test_the_metadata_lists_raw_inputs_and_answers(served: dict[str, Served]) -> None:
    found = served["texts"].metadata()

    raw = {
        item["name"]: item for item in (*found["inputs"], *found["outputs"]) if item.get("parameters", {}).get("raw")
    }
    assert list(raw) == ["text", "text_pair", "label", "score"]
    assert raw["text"] == {"name": "text", "datatype": "BYTES", "shape": [-1], "parameters": {"raw": True}}


@pytest.mark.parametrize(
    ("model", "inputs", "fault"),
    [
        ("texts", [{"name": "text", "datatype": "INT64", "shape": [1], "data": [1]}], "expected BYTES"),
        ("texts", [{"name": "text", "datatype": "BYTES", "shape": [1, 2], "data": ["a", "b"]}], "[rows] or [rows, 1]"),
        ("texts", [texts("a"), texts("b", "c", name="text_pair")], "as many rows as each other"),
        ("texts", [texts("b", name="text_pair")], "missing input 'text'"),
        ("texts", [texts()], "there are no rows"),
        ("texts", [texts("a"), texts("b", name="words")], "unknown input 'text'; the model takes 'input_ids'"),
        ("rows", columns([ROWS[0] | {"colour": "pink"}]), "row 0, column 'colour': is none of the 3 categories"),
        ("rows", columns([ROWS[0], ROWS[1] | {"income": "lots"}]), "row 1, column 'income': expected a number"),
        ("rows", columns(ROWS)[1:], "the column 'age' is missing"),
        ("unknown", [texts("a")], "this package takes tensors only, for its config/processing.json cannot be used"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(
    served: dict[str, Served], model: str, inputs: list[dict[str, Any]], fault: str
) -> None:
    answer = served[model].infer(*inputs)

    assert answer.status_code == 400
    assert fault in answer.json()["error"]


def test_refusals_never_repeat_what_was_sent(served: dict[str, Served]) -> None:
    answer = served["rows"].infer(*columns([ROWS[0] | {"colour": "secret-colour", "income": "secret-income"}]))

    assert "secret" not in answer.json()["error"]


def test_a_package_whose_processing_is_unknown_serves_tensors_still(served: dict[str, Served]) -> None:
    feeds = load(served["texts"].package).processor.encode(RawTexts(TEXTS)).feeds

    outputs = served["unknown"].outputs(*(as_json(name, array) for name, array in feeds.items()))

    assert outputs["logits"]["shape"] == [4, 3]


def test_one_long_text_among_thousands_of_short_ones_is_refused(served: dict[str, Served]) -> None:
    answer = served["texts"].infer(texts("cat " * 30, *["a"] * 12_000))

    assert answer.status_code == 400
    assert "too many at once" in answer.json()["error"]
