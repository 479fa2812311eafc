"""Models that load, and then take for ever, take everything, or reach where nothing is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from onnx import TensorProto

from tests.hostile.models_craft import (
    BOOL,
    FLOAT,
    INT64,
    HostileModel,
    body,
    hostile,
    model_of,
    node,
    one_operator,
    tensor,
    value,
)

FAR = 2**40


def _loop(turns: int, *, growing: bool, inner: int = 0) -> Any:
    nodes = [node("Identity", ["go"], ["on"]), node("Add", ["before", "one"], ["after"])]
    outputs = [value("on", BOOL, []), value("after", FLOAT, None)]
    if inner:
        nodes[1] = node("Loop", ["many", "", "before"], ["after"], body=_loop(inner, growing=False))
    if growing:
        nodes.append(node("Identity", ["after"], ["kept"]))
        outputs.append(value("kept", FLOAT, None))
    inputs = [value("i", INT64, []), value("go", BOOL, []), value("before", FLOAT, None)]
    tensors = [tensor("one", 1.0), tensor("many", turns, np.int64)]
    return body(nodes, outputs, inputs=inputs, tensors=tensors)


def loops() -> Iterator[HostileModel]:
    for name, made, outputs in (
        ("2^40 turns", _loop(FAR, growing=False), ["y"]),
        ("2^40 turns that keep what they made", _loop(FAR, growing=True), ["y", "all"]),
        ("2^20 turns of 2^20 turns", _loop(2**20, growing=False, inner=2**20), ["y"]),
    ):
        top = node("Loop", ["turns", "", "x"], outputs, body=made)
        yield hostile(f"a loop of {name}", model_of([top], [tensor("turns", FAR, np.int64)]))
    endless = _loop(1, growing=False)
    yield hostile(
        "a loop without an end",
        model_of([node("Loop", ["", "yes", "x"], body=endless)], [tensor("yes", True, np.bool_)]),
    )
    yield hostile(
        "a loop of -1 turns",
        model_of([node("Loop", ["turns", "", "x"], body=endless)], [tensor("turns", -1, np.int64)]),
    )
    yield hostile("a scan over nothing", model_of([node("Scan", ["x"], body=endless, num_scan_inputs=99)]))


OPERATORS: tuple[tuple[str, dict[str, Any], dict[str, Any]], ...] = (
    ("ConstantOfShape", {"s": np.array([FAR])}, {}),
    ("ConstantOfShape", {"s": np.array([2**32, 2**32])}, {}),
    ("ConstantOfShape", {"s": np.array([-5])}, {}),
    ("Expand", {"a": np.float32([1]), "s": np.array([FAR, 32])}, {}),
    ("Tile", {"a": np.float32([1]), "s": np.array([FAR])}, {}),
    ("Range", {"a": np.int64(0), "b": np.int64(FAR), "c": np.int64(1)}, {"kind": INT64}),
    ("Range", {"a": np.int64(0), "b": np.int64(5), "c": np.int64(0)}, {"kind": INT64}),
    ("Range", {"a": np.float32(0), "b": np.float32(np.nan), "c": np.float32(1)}, {}),
    ("OneHot", {"i": np.array([0]), "d": np.int64(FAR), "v": np.float32([0, 1])}, {}),
    ("Pad", {"a": np.float32([1]), "p": np.array([FAR, FAR])}, {}),
    ("Pad", {"a": np.float32([1]), "p": np.array([-9, -9])}, {"mode": "reflect"}),
    ("Reshape", {"a": np.float32([1, 2]), "s": np.array([-1, -1])}, {}),
    ("Reshape", {"a": np.float32([1, 2]), "s": np.array([2**62, 4])}, {}),
    ("Gather", {"a": np.float32([1, 2]), "i": np.array([10**12])}, {}),
    ("Gather", {"a": np.float32([1, 2]), "i": np.array([-(10**12)])}, {}),
    ("GatherElements", {"a": np.float32([1, 2]), "i": np.array([10**12])}, {}),
    ("GatherND", {"a": np.float32([[1, 2]]), "i": np.array([[10**12, 0]])}, {}),
    ("ScatterElements", {"a": np.float32([1, 2]), "i": np.array([10**12]), "u": np.float32([7])}, {}),
    ("ScatterND", {"a": np.float32([1, 2]), "i": np.array([[10**12]]), "u": np.float32([7])}, {}),
    ("Slice", {"a": np.float32([1, 2]), "s": np.array([-(2**62)]), "e": np.array([2**62]), "x": np.array([7])}, {}),
    (
        "Slice",
        {"a": np.float32([1, 2]), "s": np.array([0]), "e": np.array([2]), "x": np.array([0]), "t": np.array([0])},
        {},
    ),
    ("TopK", {"a": np.float32([1, 2]), "k": np.array([-1])}, {"outputs": ("y", "z")}),
    ("TopK", {"a": np.float32([1, 2]), "k": np.array([FAR])}, {"outputs": ("y", "z")}),
    ("Div", {"a": np.int64([1, 2]), "b": np.int64([0, 0])}, {"kind": INT64}),
    ("Div", {"a": np.int32([-(2**31)]), "b": np.int32([-1])}, {"kind": TensorProto.INT32}),
    ("Div", {"a": np.int64([-(2**63)]), "b": np.int64([-1])}, {"kind": INT64}),
    ("Mod", {"a": np.int64([1, 2]), "b": np.int64([0, 0])}, {"kind": INT64}),
    ("Mod", {"a": np.int64([-(2**63)]), "b": np.int64([-1])}, {"kind": INT64}),
    ("BitShift", {"a": np.uint64([1]), "b": np.uint64([200])}, {"kind": TensorProto.UINT64, "direction": "LEFT"}),
    ("Resize", {"a": np.ones((1, 1, 2, 2), np.float32), "r": np.float32([]), "s": np.float32([1, 1, 1e9, 1e9])}, {}),
    ("Resize", {"a": np.ones((1, 1, 2, 2), np.float32), "r": np.float32([]), "s": np.float32([1, 1, np.nan, -1])}, {}),
    ("Split", {"a": np.float32([1, 2]), "s": np.array([-1, 3])}, {"outputs": ("y", "z")}),
    ("CumSum", {"a": np.float32([1, 2]), "i": np.int64(99)}, {}),
    ("Transpose", {"a": np.float32([[1, 2]])}, {"perm": [0, 7]}),
    ("Transpose", {"a": np.float32([[1, 2]])}, {"perm": [0, 0]}),
    ("Conv", {"a": np.ones((1, 1, 4, 4), np.float32), "w": np.ones((1, 1, 2, 2), np.float32)}, {"group": 0}),
    ("Conv", {"a": np.ones((1, 1, 4, 4), np.float32), "w": np.ones((1, 1, 2, 2), np.float32)}, {"strides": [0, 0]}),
    ("Conv", {"a": np.ones((1, 1, 4, 4), np.float32), "w": np.ones((1, 1, 2, 2), np.float32)}, {"pads": [2**30] * 4}),
    (
        "Conv",
        {"a": np.ones((1, 1, 4, 4), np.float32), "w": np.ones((1, 1, 2, 2), np.float32)},
        {"dilations": [-1, 2**40]},
    ),
    (
        "ConvTranspose",
        {"a": np.ones((1, 1, 4, 4), np.float32), "w": np.ones((1, 1, 2, 2), np.float32)},
        {"output_shape": [FAR, FAR]},
    ),
    ("MaxPool", {"a": np.ones((1, 1, 4, 4), np.float32)}, {"kernel_shape": [0, 0]}),
    ("MaxPool", {"a": np.ones((1, 1, 4, 4), np.float32)}, {"kernel_shape": [2**40, 2**40], "pads": [2**40] * 4}),
    (
        "MaxUnpool",
        {"a": np.ones((1, 1, 2, 2), np.float32), "i": np.full((1, 1, 2, 2), 10**12)},
        {"kernel_shape": [2, 2]},
    ),
    ("Einsum", {"a": np.float32([[1]])}, {"equation": "ij,jk,kl" * 1000}),
    ("Compress", {"a": np.float32([1, 2]), "c": np.ones(1000, np.bool_)}, {}),
    ("ReverseSequence", {"a": np.ones((2, 2), np.float32), "l": np.array([10**12, -1])}, {}),
    ("DequantizeLinear", {"a": np.uint8([1, 2]), "s": np.float32([1, 2, 3])}, {"axis": 77}),
    ("QuantizeLinear", {"a": np.float32([1, 2]), "s": np.float32(np.nan)}, {"kind": TensorProto.UINT8}),
    ("QuantizeLinear", {"a": np.float32([1, 2]), "s": np.float32(0)}, {"kind": TensorProto.UINT8}),
    ("DFT", {"a": np.ones((1, 8, 1), np.float32), "n": np.int64(FAR)}, {}),
    (
        "NonMaxSuppression",
        {"b": np.float32([[[np.nan] * 4]]), "s": np.float32([[[np.inf]]]), "n": np.array([2**62])},
        {"kind": INT64},
    ),
    (
        "RoiAlign",
        {"a": np.ones((1, 1, 4, 4), np.float32), "r": np.float32([[np.inf] * 4]), "b": np.array([10**12])},
        {"output_height": 2**20, "output_width": 2**20},
    ),
    ("GridSample", {"a": np.ones((1, 1, 4, 4), np.float32), "g": np.full((1, 2, 2, 2), np.nan, np.float32)}, {}),
    ("GridSample", {"a": np.ones((1, 1, 4, 4), np.float32), "g": np.full((1, 2, 2, 2), 1e30, np.float32)}, {}),
    ("RandomNormal", {}, {"shape": [FAR]}),
    ("EyeLike", {"a": np.zeros((1, 0), np.float32)}, {"k": 2**62}),
    ("SpaceToDepth", {"a": np.ones((1, 1, 4, 4), np.float32)}, {"blocksize": 0}),
    ("DepthToSpace", {"a": np.ones((1, 1, 4, 4), np.float32)}, {"blocksize": 2**31}),
    (
        "LSTM",
        {"a": np.ones((1, 1, 4), np.float32), "w": np.ones((1, 4, 4), np.float32), "r": np.ones((1, 4, 1), np.float32)},
        {"hidden_size": -7},
    ),
    (
        "LSTM",
        {"a": np.ones((1, 1, 4), np.float32), "w": np.ones((1, 4, 4), np.float32), "r": np.ones((1, 4, 1), np.float32)},
        {"hidden_size": 2**40},
    ),
    (
        "TreeEnsembleRegressor",
        {"a": np.float32([[1]])},
        {
            "domain": "ai.onnx.ml",
            "nodes_treeids": [0, 0],
            "nodes_nodeids": [0, 1],
            "nodes_featureids": [0, 0],
            "nodes_values": [0.0, 0.0],
            "nodes_modes": ["BRANCH_LEQ", "BRANCH_LEQ"],
            "nodes_truenodeids": [1, 0],
            "nodes_falsenodeids": [1, 0],
            "target_treeids": [0],
            "target_nodeids": [1],
            "target_ids": [0],
            "target_weights": [1.0],
            "n_targets": 1,
        },
    ),
    (
        "TreeEnsembleRegressor",
        {"a": np.float32([[1]])},
        {
            "domain": "ai.onnx.ml",
            "nodes_treeids": [0, 0, 0],
            "nodes_nodeids": [0, 1, 2],
            "nodes_featureids": [10**9, 0, 0],
            "nodes_values": [0.0] * 3,
            "nodes_modes": ["BRANCH_LEQ", "LEAF", "LEAF"],
            "nodes_truenodeids": [1, 0, 0],
            "nodes_falsenodeids": [2, 0, 0],
            "target_treeids": [0, 0],
            "target_nodeids": [1, 2],
            "target_ids": [10**6, 0],
            "target_weights": [1.0, 1.0],
            "n_targets": 1,
        },
    ),
    (
        "SVMRegressor",
        {"a": np.float32([[1]])},
        {
            "domain": "ai.onnx.ml",
            "n_supports": 10**9,
            "coefficients": [1.0],
            "support_vectors": [1.0],
            "rho": [0.0],
            "kernel_params": [0.0] * 3,
        },
    ),
    ("ArrayFeatureExtractor", {"a": np.float32([[1]]), "i": np.array([10**12])}, {"domain": "ai.onnx.ml"}),
    (
        "RotaryEmbedding",
        {
            "a": np.ones((1, 1, 8), np.float32),
            "p": np.array([[10**12]]),
            "c": np.ones((4, 4), np.float32),
            "s": np.ones((4, 4), np.float32),
        },
        {"domain": "com.microsoft", "num_heads": 1},
    ),
    (
        "EmbedLayerNormalization",
        {
            "i": np.full((1, 2), 10**9, np.int32),
            "s": np.full((1, 2), -(10**9), np.int32),
            "w": np.ones((4, 8), np.float32),
            "p": np.ones((4, 8), np.float32),
            "g": np.ones((2, 8), np.float32),
            "a": np.ones(8, np.float32),
            "b": np.ones(8, np.float32),
        },
        {"domain": "com.microsoft", "outputs": ("y", "m")},
    ),
    (
        "NGramRepeatBlock",
        {"i": np.full((1, 4), 10**12), "s": np.ones((1, 8), np.float32)},
        {"domain": "com.microsoft", "ngram_size": -3},
    ),
    (
        "WordConvEmbedding",
        {
            "i": np.full((1, 1, 4), 10**9, np.int32),
            "w": np.ones((1, 1, 1, 1), np.float32),
            "b": np.ones(1, np.float32),
            "c": np.ones((1, 1), np.float32),
        },
        {"domain": "com.microsoft"},
    ),
    (
        "Attention",
        {"a": np.ones((1, 2, 4), np.float32), "w": np.ones((4, 12), np.float32), "b": np.ones(12, np.float32)},
        {"domain": "com.microsoft", "num_heads": 0},
    ),
)


def operators() -> Iterator[HostileModel]:
    for index, (op, values, more) in enumerate(OPERATORS):
        for live in (False, True):
            attributes = {**more}
            made = one_operator(op, values, live=live, **attributes)
            yield hostile(f"{op} #{index}, {'at run time' if live else 'while it is loaded'}", made)
