"""Models that other people's tools made: scikit-learn's, and magika's from PyPI."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from tests.downloads import (
    DOWNLOAD_TIMEOUT_S,
    magika_model,  # noqa: F401 - a fixture
)
from tests.packaging import answers, load, pack, write_model

from hyperion.errors import ModelSourceError


@dataclass(frozen=True)
class Trained:
    model: onnx.ModelProto
    x: np.ndarray
    label: np.ndarray


@cache
def digits_mlp() -> Trained:
    """INPUTS.md, recipe a: 0.9711 on 450 test rows in float."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return trained("digits", MLPClassifier((128, 64), max_iter=300, random_state=0), scaled=True)


@cache
def forest() -> Trained:
    from sklearn.ensemble import RandomForestClassifier

    return trained("breast_cancer", RandomForestClassifier(100, random_state=0), scaled=False)


def trained(data: str, classifier: Any, *, scaled: bool, zipmap: bool = False) -> Trained:
    from skl2onnx import to_onnx
    from sklearn import datasets
    from sklearn.model_selection import train_test_split
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    loaded = getattr(datasets, f"load_{data}")()
    x = loaded.data.astype(np.float32)
    train, test, label, wanted = train_test_split(
        x, loaded.target, test_size=0.25, random_state=0, stratify=loaded.target
    )
    estimator = make_pipeline(StandardScaler(), classifier) if scaled else classifier
    estimator.fit(train, label)
    model = to_onnx(estimator, train[:1], options={id(estimator): {"zipmap": zipmap}}, target_opset=17)
    return Trained(model, test, wanted)


def accuracy(path: Path, data: Trained) -> float:
    model = load(path)
    found = model.run({model.inputs[0].name: data.x})
    return float((found["label"] == data.label).mean())


class TestScikitLearn:
    @pytest.mark.parametrize("quantize", ["none", "auto", "int8", "w4"])
    def test_digits_keep_their_accuracy(self, quantize: str, tmp_path: Path) -> None:
        data = digits_mlp()
        summary = pack(write_model(tmp_path / "d", data.model), tmp_path / "m.hyperion", quantize)

        measured = accuracy(tmp_path / "m.hyperion", data)

        reference = float((answers(data.model, {"X": data.x})["label"] == data.label).mean())
        assert reference == pytest.approx(0.97, abs=0.015)
        # int8 within half a point; 4 bits may move a few of 450 rows either way (INPUTS.md, trap 7)
        assert measured == pytest.approx(reference, abs={"none": 0.0, "w4": 0.015}.get(quantize, 0.005))
        assert summary.scheme == {"auto": "int8"}.get(quantize, quantize)

    def test_golden_rows_of_real_data_decide(self, tmp_path: Path) -> None:
        data = digits_mlp()
        folder = write_model(tmp_path / "d", data.model)
        (folder / "golden").mkdir()
        np.savez(folder / "golden" / "rows.npz", X=data.x[:200])

        summary = pack(folder, tmp_path / "m.hyperion", "int8")

        assert summary.agreement is not None
        assert (summary.agreement.rows, summary.agreement.golden_rows) == (200, 200)
        assert summary.agreement.value >= 0.99
        assert summary.bytes_after < 0.3 * summary.bytes_before

    def test_the_class_is_taken_from_the_probabilities(self, tmp_path: Path) -> None:
        summary = pack(write_model(tmp_path / "d", digits_mlp().model), tmp_path / "m.hyperion", "int8")

        assert summary.agreement is not None
        assert (summary.agreement.measure, summary.agreement.output) == ("top1", "probabilities")

    @pytest.mark.parametrize("quantize", ["auto", "int8", "w4"])
    def test_a_forest_is_kept_and_that_is_said(self, quantize: str, tmp_path: Path) -> None:
        data = forest()
        summary = pack(write_model(tmp_path / "d", data.model), tmp_path / "m.hyperion", quantize)

        assert (summary.scheme, summary.layers) == ("none", ())
        assert summary.reason == "its parameters are attributes of TreeEnsembleClassifier, which no scheme covers"
        model = load(tmp_path / "m.hyperion")
        found, wanted = model.run({"X": data.x}), answers(data.model, {"X": data.x})
        assert all(np.array_equal(found[name], wanted[name]) for name in wanted)

    def test_dictionaries_of_probabilities_are_refused_with_the_way_out(self, tmp_path: Path) -> None:
        from sklearn.linear_model import LogisticRegression

        data = trained("iris", LogisticRegression(max_iter=500), scaled=True, zipmap=True)

        with pytest.raises(ModelSourceError, match="is no tensor but a sequence") as refusal:
            pack(write_model(tmp_path / "d", data.model), tmp_path / "m.hyperion")

        assert "zipmap" in (refusal.value.hint or "")


@pytest.mark.timeout(2 * DOWNLOAD_TIMEOUT_S + 180)  # each process that runs tests may wait for its download
class TestMagika:
    """Integer input that is no token id; an embedding table, a convolution, two linear layers; 214 classes."""

    def feeds(self, rows: int = 4) -> dict[str, np.ndarray]:
        """The beginnings of this repository's own files, as magika reads them: padding is 256."""
        files = sorted(Path(__file__).parent.parent.rglob("*.py"))[:rows]
        beginnings = [list(path.read_bytes()[:1024]) for path in files]
        endings = [list(path.read_bytes()[-1024:]) for path in files]
        x = np.full((len(files), 2048), 256, np.int32)
        for row, (begin, end) in enumerate(zip(beginnings, endings, strict=True)):
            x[row, : len(begin)] = begin
            x[row, 2048 - len(end) :] = end
        return {"bytes": x}

    def test_unquantized_answers_are_bit_equal(self, magika_model: Path, tmp_path: Path) -> None:  # noqa: F811
        pack(write_model(tmp_path / "d", onnx.load(magika_model)), tmp_path / "m.hyperion", "none")

        found = load(tmp_path / "m.hyperion").run(self.feeds())

        wanted = answers(magika_model, self.feeds())
        assert np.array_equal(found["target_label"], wanted["target_label"])

    def test_int8_shrinks_the_table_too(self, magika_model: Path, tmp_path: Path) -> None:  # noqa: F811
        folder = write_model(tmp_path / "d", onnx.load(magika_model))
        (folder / "golden").mkdir()
        np.savez(folder / "golden" / "files.npz", **self.feeds(8))

        summary = pack(folder, tmp_path / "m.hyperion", "int8")

        assert summary.bytes_after < 0.26 * summary.bytes_before
        assert summary.agreement is not None
        assert (summary.agreement.measure, summary.agreement.golden_rows) == ("top1", 8)

    @pytest.mark.slow
    def test_auto_agrees_on_real_files(self, magika_model: Path, tmp_path: Path) -> None:  # noqa: F811
        folder = write_model(tmp_path / "d", onnx.load(magika_model))
        (folder / "golden").mkdir()
        np.savez(folder / "golden" / "files.npz", **self.feeds(8))

        summary = pack(folder, tmp_path / "m.hyperion", "auto")

        found = load(tmp_path / "m.hyperion").run(self.feeds(16))["target_label"]
        wanted = answers(magika_model, self.feeds(16))["target_label"]
        assert summary.scheme == "int8"
        assert summary.agreement is not None
        assert summary.agreement.holds
        assert summary.bytes_after < 0.5 * summary.bytes_before
        assert (found.argmax(axis=1) == wanted.argmax(axis=1)).all()
