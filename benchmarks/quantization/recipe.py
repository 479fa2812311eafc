"""A public model with the rows that judge it: made once, kept in .cache/recipes, written out for packaging."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import ROOT

CACHE = ROOT / ".cache" / "recipes"
SLICE_ROWS = 64
"""Rows of one call: thousands at once took gigabytes."""

Array = np.ndarray[Any, Any]
Feeds = Mapping[str, Array]
Runner = Callable[[Feeds], Mapping[str, Array]]


@dataclass(frozen=True)
class Recipe:
    """One model and its data.

    Attributes:
        key: Short, for file names.
        title: For tables.
        model: The float model.
        output: The output that is judged: class scores, or a vector.
        test: Rows by input name, which nothing but the figures of this benchmark ever sees.
        labels: The true class of each test row; None where vectors are compared.
        tuning: Rows by input name, from the training set, for a budget's search; with ``label`` where there is one.
    """

    key: str
    title: str
    model: Path
    output: str
    test: Feeds
    labels: Array | None
    tuning: Feeds

    @property
    def rows(self) -> int:
        return len(next(iter(self.test.values())))

    def write(self, folder: Path, *, budget: float | None = None) -> Path:
        """A model directory; with ``budget``, the share of accuracy that quantizing may cost, and rows to judge by."""
        folder.mkdir(parents=True)
        shutil.copyfile(self.model, folder / "model.onnx")
        card = {"name": self.key, "author": "benchmarks", "license": "Apache-2.0", "description": self.title}
        (folder / "hyperion.json").write_text(json.dumps(card))
        if budget is not None:
            (folder / "config").mkdir()
            self.write_rows(folder / "tuning")
            limit = {"metric": "accuracy", "max_loss": budget, "output": self.output}
            policy = {"budget": limit, "data": {"folder": "tuning"}}
            (folder / "config" / "quantization.json").write_text(json.dumps(policy))
        return folder

    def write_rows(self, folder: Path) -> Path:
        """The rows of the training set as a dataset folder."""
        folder.mkdir()
        np.savez(folder / "rows.npz", **self.tuning)
        return folder

    def answers(self, run: Runner) -> Array:
        """The judged output for all test rows, in slices; padding that a slice does not need is cut off."""
        found = []
        for start in range(0, self.rows, SLICE_ROWS):
            piece = {name: array[start : start + SLICE_ROWS] for name, array in self.test.items()}
            found.append(np.asarray(run(_shortened(piece))[self.output]))
        return np.concatenate(found)


def _shortened(feeds: Feeds) -> Feeds:
    mask = feeds.get("attention_mask")
    if mask is None:
        return feeds
    longest = int(mask.sum(axis=1).max())
    return {name: array[:, :longest] for name, array in feeds.items()}


def session_runner(model: Path | bytes) -> Runner:
    """Plain ONNX Runtime with one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    given = str(model) if isinstance(model, Path) else model
    session = onnxruntime.InferenceSession(given, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda feeds: dict(zip(names, session.run(names, dict(feeds)), strict=True))


def kept(name: str, make: Callable[[Path], None]) -> Path:
    """A folder of .cache/recipes, made once; what is half-made is not kept."""
    folder = CACHE / name
    if not folder.is_dir():
        print(f"making {folder.relative_to(ROOT)} (once)", flush=True)
        unfinished = CACHE / f"{name}.part"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        make(unfinished)
        unfinished.rename(folder)
    return folder


def arrays(path: Path) -> dict[str, Array]:
    """All arrays of an .npz file."""
    with np.load(path) as stored:
        return {name: stored[name] for name in stored.files}
