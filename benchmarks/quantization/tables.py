"""Recipe a: scikit-learn's MLPs on digits and breast cancer, through skl2onnx."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import onnx

from benchmarks.quantization.recipe import Recipe, arrays, kept

SETS = {"digits": ((128, 64), 300), "breast_cancer": ((64, 32), 400)}
"""Hidden layers and iterations."""


def digits() -> Recipe:
    return _recipe("digits", "digits MLP (scikit-learn)")


def breast_cancer() -> Recipe:
    return _recipe("breast_cancer", "breast cancer MLP (scikit-learn)")


def _recipe(name: str, title: str) -> Recipe:
    folder = kept(name, lambda place: _train(name, place))
    data = arrays(folder / "rows.npz")
    tuning = {"X": data["train"], "label": data["train_label"]}
    return Recipe(name, title, folder / "model.onnx", "probabilities", {"X": data["test"]}, data["test_label"], tuning)


def _train(name: str, folder: Path) -> None:
    from skl2onnx import to_onnx
    from sklearn import datasets
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.model_selection import train_test_split
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    hidden, turns = SETS[name]
    loaded = getattr(datasets, f"load_{name}")()
    x = loaded.data.astype(np.float32)
    train, test, label, wanted = train_test_split(
        x, loaded.target, test_size=0.25, random_state=0, stratify=loaded.target
    )
    estimator = make_pipeline(StandardScaler(), MLPClassifier(hidden, max_iter=turns, random_state=0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        estimator.fit(train, label)
    onnx.save(
        to_onnx(estimator, train[:1], options={id(estimator): {"zipmap": False}}, target_opset=17),
        folder / "model.onnx",
    )
    np.savez(folder / "rows.npz", train=train, train_label=label, test=test, test_label=wanted)
