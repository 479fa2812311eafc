"""Candidates that go bad on live requests alone: the digits' network with a flaw that only faint images bring out.

Golden images are of full brightness, so each candidate passes its proof.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FAINT = 0.75
"""An image is faint where no pixel is brighter."""
BRIGHTNESS = 0.5
"""Of the brightest pixel of the faint images that clients send."""
GROWTH_MB = 400
"""What the greedy candidate takes for one of those: more than ``gates.memory_growth_mb``."""

_node = helper.make_node
Graph = onnx.GraphProto


def write_candidate(source: Path, folder: Path, version: str, spoil: Callable[[Graph], None]) -> Path:
    """A copy of a model directory whose network has a flaw.

    Args:
        source: With model.onnx, hyperion.json and golden requests.
        folder: To write.
        version: Of the candidate.
        spoil: Adds the flaw; it reads ``faintness`` (float32 [rows, 1], 0 for bright images) and ``scores``, and
            writes ``probabilities``.
    """
    shutil.copytree(source, folder)
    model = onnx.load(folder / "model.onnx")
    graph = model.graph
    graph.node[-1].output[0] = "scores"
    graph.initializer.extend(
        [_constant("faint", np.float32(FAINT)), _constant("pixels", np.array([1, 2, 3], np.int64))]
    )
    graph.node.extend(
        [
            _node("ReduceMax", ["image", "pixels"], ["brightest"], keepdims=1),
            _node("Flatten", ["brightest"], ["brightness"]),
            _node("Sub", ["faint", "brightness"], ["below"]),
            _node("Relu", ["below"], ["faintness"]),
        ]
    )
    spoil(graph)
    onnx.save(model, folder / "model.onnx")
    card = json.loads((folder / "hyperion.json").read_text())
    (folder / "hyperion.json").write_text(json.dumps({**card, "version": version}))
    return folder


def undefined(graph: Graph) -> None:
    """The root of a negative number: NaN for faint images."""
    graph.node.extend([_node("Neg", ["faintness"], ["negative"]), _node("Sqrt", ["negative"], ["root"])])
    _add_nothing_of(graph, "root")


def greedy(graph: Graph) -> None:
    """Takes memory for faint images, and does not give it back; its answers are right."""
    graph.initializer.extend(
        [
            _constant("floats", np.float32(GROWTH_MB * 2**20 / 4 / (FAINT - BRIGHTNESS))),
            _constant("flat", np.array([1], np.int64)),
        ]
    )
    graph.node.extend(
        [
            _node("ReduceMax", ["faintness"], ["faintest"], keepdims=0),
            _node("Mul", ["faintest", "floats"], ["wanted"]),
            _node("Cast", ["wanted"], ["count"], to=TensorProto.INT64),
            _node("Reshape", ["count", "flat"], ["size"]),
            _node("ConstantOfShape", ["size"], ["zeros"]),
            _node("ReduceSum", ["zeros"], ["sum"], keepdims=0),
        ]
    )
    _add_nothing_of(graph, "sum")


def _add_nothing_of(graph: Graph, value: str) -> None:
    """``probabilities`` = ``scores`` + 0 · ``value``."""
    graph.initializer.append(_constant("nought", np.float32(0)))
    graph.node.extend([_node("Mul", [value, "nought"], ["zero"]), _node("Add", ["scores", "zero"], ["probabilities"])])


def _constant(name: str, value: np.ndarray | np.generic) -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(value), name)
