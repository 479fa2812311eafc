"""Models that go bad on live requests alone: real ONNX graphs, which golden requests do not provoke.

All are the test MLP; what else they do grows with how far the first feature of a request lies above 5. Live requests
have 9 there, golden ones do not. A sound model takes no notice of it. Only the ``lying`` one goes bad by itself.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.models import mlp

PROVOCATION = 9.0
PROVOKED_MB = 200
"""What a provoked ``greedy`` model allocates."""
SLOW_TRIPS = 6_000.0
"""Of a slow model's loop, for each 1 of provocation; a trip takes some microseconds."""
ENDLESS_TRIPS = 1e12
LIAR_SEED, LIES_FROM = 2011, 0.7
"""The engine's seeded generator stays below 0.7 for the first 26 runs of a session, more than a proof takes; of those
after them, three in ten lie."""

_node = helper.make_node
Graph = onnx.GraphProto


def crashing() -> onnx.ModelProto:
    """Divides the least integer by -1, which is SIGFPE: the process is gone (ONNX Runtime looks for 0 alone)."""
    return _provoked(_add_division)


def hanging() -> onnx.ModelProto:
    """Loops until the request's deadline, and beyond it where there is none."""
    return _provoked(lambda graph: _add_loop(graph, ENDLESS_TRIPS))


def slow(seed: int = 0) -> onnx.ModelProto:
    """Takes about 100 ms, and is right."""
    return _provoked(lambda graph: _add_loop(graph, SLOW_TRIPS), seed)


def nan() -> onnx.ModelProto:
    """The root of a negative number."""
    return _provoked(_add_root)


def misshapen() -> onnx.ModelProto:
    """Answers five rows for one."""
    return _provoked(_add_tiles)


def greedy() -> onnx.ModelProto:
    """Takes PROVOKED_MB, and does not give them back."""
    return _provoked(_add_allocation)


def lying() -> onnx.ModelProto:
    """Answers twice the right values now and then, to whomever asks, once it is proven: no input is to blame."""
    model = mlp(0)
    graph = model.graph
    graph.node[-1].output[0] = "scores"
    _constant(graph, "from", np.float32(LIES_FROM))
    _constant(graph, "one", np.float32(1))
    graph.node.extend(
        [
            _node("RandomUniform", [], ["chance"], shape=[1], seed=float(LIAR_SEED)),
            _node("GreaterOrEqual", ["chance", "from"], ["lies"]),
            _node("Cast", ["lies"], ["excess"], to=TensorProto.FLOAT),
            _node("Add", ["excess", "one"], ["factor"]),
            _node("Mul", ["scores", "factor"], ["probabilities"]),
        ]
    )
    return model


def _provoked(add: Callable[[Graph], None], seed: int = 0) -> onnx.ModelProto:
    """The MLP, with ``add`` reading ``provocation`` (0, or 4) and ``scores`` and writing ``probabilities``."""
    model = mlp(seed)
    graph = model.graph
    graph.node[-1].output[0] = "scores"
    _constant(graph, "first", np.int64(0))
    _constant(graph, "five", np.float32(5))
    graph.node.extend(
        [
            _node("Gather", ["x", "first"], ["feature"], axis=1),
            _node("ReduceMax", ["feature"], ["top"], keepdims=0),
            _node("Sub", ["top", "five"], ["above"]),
            _node("Relu", ["above"], ["provocation"]),
        ]
    )
    add(graph)
    return model


def _add_division(graph: Graph) -> None:
    _constant(graph, "one", np.float32(1))
    _constant(graph, "half", np.float32(2 / (PROVOCATION - 5)))
    _constant(graph, "least", np.int64(np.iinfo(np.int64).min))
    graph.node.extend(
        [
            _node("Mul", ["provocation", "half"], ["two"]),
            _node("Sub", ["one", "two"], ["sign"]),
            _node("Cast", ["sign"], ["divisor"], to=TensorProto.INT64),
            _node("Div", ["least", "divisor"], ["quotient"]),
            _node("Cast", ["quotient"], ["number"], to=TensorProto.FLOAT),
        ]
    )
    _add_nothing_of(graph, "number")


def _add_loop(graph: Graph, trips: float) -> None:
    _constant(graph, "pace", np.float32(trips))
    _constant(graph, "true", np.array(True))
    state = [helper.make_tensor_value_info("go", TensorProto.BOOL, []), _float("s")]
    body = helper.make_graph(
        [_node("Identity", ["go"], ["go_on"]), _node("Mul", ["s", "unit"], ["product"])],
        "body",
        [helper.make_tensor_value_info("i", TensorProto.INT64, []), *state],
        [helper.make_tensor_value_info("go_on", TensorProto.BOOL, []), _float("product")],
        [numpy_helper.from_array(np.ones(1, np.float32), "unit")],
    )
    graph.node.extend(
        [
            _node("Mul", ["provocation", "pace"], ["trips"]),
            _node("Cast", ["trips"], ["times"], to=TensorProto.INT64),
            _node("Loop", ["times", "true", "scores"], ["probabilities"], body=body),
        ]
    )


def _add_root(graph: Graph) -> None:
    graph.node.extend([_node("Neg", ["provocation"], ["below"]), _node("Sqrt", ["below"], ["root"])])
    _add_nothing_of(graph, "root")


def _add_tiles(graph: Graph) -> None:
    _constant(graph, "one", np.int64([1]))
    _constant(graph, "row", np.int64([1]))
    graph.node.extend(
        [
            _node("Cast", ["provocation"], ["more"], to=TensorProto.INT64),
            _node("Add", ["more", "one"], ["rows"]),
            _node("Concat", ["rows", "row"], ["times"], axis=0),
            _node("Tile", ["scores", "times"], ["probabilities"]),
        ]
    )


def _add_allocation(graph: Graph) -> None:
    _constant(graph, "share", np.float32(PROVOKED_MB * 2**20 / 4 / (PROVOCATION - 5)))
    _constant(graph, "flat", np.int64([1]))
    graph.node.extend(
        [
            _node("Mul", ["provocation", "share"], ["wanted"]),
            _node("Cast", ["wanted"], ["count"], to=TensorProto.INT64),
            _node("Reshape", ["count", "flat"], ["size"]),
            _node("ConstantOfShape", ["size"], ["zeros"]),
            _node("ReduceSum", ["zeros"], ["sum"], keepdims=0),
        ]
    )
    _add_nothing_of(graph, "sum")


def _add_nothing_of(graph: Graph, value: str) -> None:
    """``probabilities`` = ``scores`` + 0 · ``value``."""
    _constant(graph, "nought", np.float32(0))
    graph.node.extend([_node("Mul", [value, "nought"], ["zero"]), _node("Add", ["scores", "zero"], ["probabilities"])])


def _constant(graph: Graph, name: str, value: np.ndarray | np.generic) -> None:
    graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))


def _float(name: str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
