"""Batch normalization after a convolution is a factor and a bias for each of its outputs; folded, it costs nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hyperion.quantization.graph import all_graphs
from hyperion.quantization.survey import FLOAT, number

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray
    from onnx import GraphProto, ModelProto, NodeProto, TensorProto

_EPSILON = 1e-5
"""The operator's default."""


@dataclass(frozen=True, slots=True)
class Fold:
    """What a batch normalization does to the convolution before it.

    Attributes:
        output: Name of its result, which the convolution gives from now on.
        scope: Path of the graph that both stand in.
        beta: Name of its own bias, whose place the new one takes.
        factors: float32 [outputs].
        bias: float32 [outputs], the convolution's own included.
    """

    output: str
    scope: str
    beta: str
    factors: NDArray[np.float32]
    bias: NDArray[np.float32]


def foldable(model: ModelProto, read: Callable[[TensorProto], NDArray[Any]]) -> dict[tuple[str, str], Fold]:
    """Every batch normalization that alone reads a convolution; by scope and name of the convolution's result.

    Its figures and the convolution's bias must be initializers of the same graph. Factors and biases are computed in
    float64 from elementwise IEEE operations, so that they are the same on every machine.
    """
    found = {}
    for path, graph in all_graphs(model.graph):
        counts = _read_counts(graph)
        makers = {name: node for node in graph.node for name in node.output}
        tensors = {tensor.name: tensor for tensor in graph.initializer if tensor.data_type == FLOAT}
        for node in graph.node:
            conv = makers.get(node.input[0]) if node.op_type == "BatchNormalization" else None
            if conv is None or conv.op_type != "Conv" or counts[node.input[0]] != 1 or number(node, "training_mode", 0):
                continue
            if any(name and counts.get(name) for name in node.output[1:]):
                continue
            figures = [*node.input[1:5], *[name for name in conv.input[2:3] if name]]
            if all(name in tensors for name in figures):
                found[path, conv.output[0]] = _fold(node, path, [read(tensors[name]) for name in figures])
    return found


def _fold(node: NodeProto, path: str, figures: list[NDArray[Any]]) -> Fold:
    import numpy as np

    gamma, beta, mean, variance, *own = [values.astype(np.float64).reshape(-1) for values in figures]
    factors = gamma / np.sqrt(variance + number(node, "epsilon", _EPSILON))
    bias = ((own[0] if own else 0.0) - mean) * factors + beta
    return Fold(node.output[0], path, node.input[2], factors.astype(np.float32), bias.astype(np.float32))


def _read_counts(graph: GraphProto) -> Mapping[str, int]:
    """How often each name is read, in graphs within this one too; outputs count as read."""
    counts: dict[str, int] = {}
    for _, child in all_graphs(graph):
        names = [name for node in child.node for name in node.input] + [value.name for value in child.output]
        for name in names:
            counts[name] = counts.get(name, 0) + 1
    return counts
