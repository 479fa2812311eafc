"""Graphs as real exporters write them, made small."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.packaging import branching, model_of, tensor, weight

node = helper.make_node


def vector(name: str, size: int, seed: int = 1) -> TensorProto:
    """Positive float32 figures about 1."""
    values = np.random.default_rng(seed).uniform(0.5, 1.5, size)
    return numpy_helper.from_array(values.astype(np.float32), name)


def normalization(prefix: str = "") -> list[TensorProto]:
    """What a batch normalization of 16 channels needs."""
    return [vector(f"{prefix}{name}", 16, seed) for seed, name in enumerate(("g", "beta", "mean", "var"))]


def batch_normalized() -> onnx.ModelProto:
    """Conv, BatchNormalization, Relu: [n, 8, 9, 9] → [n, 16, 9, 9]."""
    return model_of(
        [
            node("Conv", ["x", "w", "b"], ["c"], "conv", pads=[1, 1, 1, 1]),
            node("BatchNormalization", ["c", "g", "beta", "mean", "var"], ["d"], "norm", epsilon=1e-3),
            node("Relu", ["d"], ["y"], "relu"),
        ],
        [tensor("x", "n", 8, 9, 9)],
        [tensor("y", "n", 16, 9, 9)],
        [weight("w", 16, 8, 3, 3), vector("b", 16), *normalization()],
    )


def tied(*, gemm: bool) -> onnx.ModelProto:
    """An embedding table that the last layer reads the other way round, by Gemm or behind a Transpose."""
    last = (
        [node("Gemm", ["mean", "table"], ["y"], "head", transB=1)]
        if gemm
        else [
            node("Transpose", ["table"], ["turned"], "turn", perm=[1, 0]),
            node("MatMul", ["mean", "turned"], ["y"], "head"),
        ]
    )
    return model_of(
        [
            node("Gather", ["table", "ids"], ["rows"], "embed"),
            node("ReduceMean", ["rows"], ["mean"], "mean", axes=[1], keepdims=0),
            *last,
        ],
        [tensor("ids", "b", "s", kind=TensorProto.INT64)],
        [tensor("y", "b", 100)],
        [weight("table", 100, 64)],
    )


def twice() -> onnx.ModelProto:
    """The same, with the table stored twice, as exporters do that fold the Transpose."""
    model = tied(gemm=False)
    table = numpy_helper.to_array(model.graph.initializer[0])
    model.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(table.T), "head"))
    model.graph.node[3].input[1] = "head"
    del model.graph.node[2]
    return model


def old_exporter(opset: int) -> onnx.ModelProto:
    """Operators that later sets changed (Clip, Pad, ReduceSum, Squeeze, Split): [n, 8, 9, 9] → [n, 20]."""
    early = opset < 11
    width = 11 if early else 9
    return model_of(
        [
            node("Conv", ["x", "w", "b"], ["c"], "conv", pads=[1, 1, 1, 1]),
            node("BatchNormalization", ["c", "g", "beta", "mean", "var"], ["d"], "norm"),
            node("Clip", ["d"], ["e"], "clip", min=0.0, max=6.0) if early else node("Relu", ["d"], ["e"], "relu"),
            node("Pad", ["e"], ["p"], "pad", pads=[0, 0, 1, 1, 0, 0, 1, 1], mode="reflect")
            if early
            else node("Identity", ["e"], ["p"], "same"),
            node("ReduceSum", ["p"], ["sum"], "sum", axes=[2], keepdims=1),
            node("Squeeze", ["sum"], ["flat"], "squeeze", axes=[2]),
            node("Split", ["flat"], ["left", "right"], "split", axis=1, split=[8, 8]),
            node("Concat", ["right", "left"], ["both"], "join", axis=1),
            node("Flatten", ["both"], ["row"], "flatten"),
            node("Gemm", ["row", "fc", "fc.bias"], ["y"], "fc", transB=1),
        ],
        [tensor("x", "n", 8, 9, 9)],
        [tensor("y", "n", 20)],
        [weight("w", 16, 8, 3, 3), vector("b", 16), *normalization(),
         weight("fc", 20, 16 * width), vector("fc.bias", 20)],
        opset=opset,
    )  # fmt: skip


def before_branches() -> onnx.ModelProto:
    """A linear layer, then If with one in each branch: what is added before the If moves what stands in it."""
    model = branching()
    choice = onnx.NodeProto.FromString(model.graph.node[0].SerializeToString())
    for attribute in choice.attribute:
        attribute.g.node[0].input[0] = "h"
    del model.graph.node[:]
    model.graph.node.extend([node("MatMul", ["x", "first"], ["h"], "first"), choice])
    model.graph.initializer.append(weight("first", 32, 32))
    return model
