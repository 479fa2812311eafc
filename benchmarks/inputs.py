"""The models that the benchmarks use: a small MLP, and a large model that is nothing but weights."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

MLP_WIDTHS = (32, 256, 256, 8)


def write_mlp(folder: Path, version: str, seed: int) -> Path:
    """A float32 MLP 32-256-256-8 with golden requests, the model of docs/explanation's earlier measurements."""
    random = np.random.default_rng(seed)
    nodes, weights, last = [], [], "x"
    for index, (rows, columns) in enumerate(pairwise(MLP_WIDTHS)):
        values = random.normal(0, rows**-0.5, (rows, columns)).astype(np.float32)
        weights.append(numpy_helper.from_array(values, f"layers.{index}.weight"))
        nodes.append(helper.make_node("MatMul", [last, f"layers.{index}.weight"], [f"m{index}"], name=f"layer{index}"))
        nodes.append(helper.make_node("Relu", [f"m{index}"], [f"r{index}"], name=f"relu{index}"))
        last = f"r{index}"
    nodes[-1].output[0] = "y"
    _write(folder, nodes, weights, [MLP_WIDTHS[0]], [MLP_WIDTHS[-1]], {"name": "bench-mlp", "version": version})
    _write_golden(folder)
    return folder


def write_large(folder: Path, layers: int = 8, width: int = 4096) -> Path:
    """``layers`` matrices of ``width`` x ``width`` float32 random values (64 MiB each by default) as external data."""
    random = np.random.default_rng(0)
    nodes, weights, last = [], [], "x"
    for index in range(layers):
        values = random.random((width, width), dtype=np.float32)
        weights.append(numpy_helper.from_array(values, f"layers.{index}.weight"))
        nodes.append(helper.make_node("MatMul", [last, f"layers.{index}.weight"], [f"h{index}"], name=f"layer{index}"))
        last = f"h{index}"
    nodes[-1].output[0] = "y"
    _write(folder, nodes, weights, [width], [width], {"name": "bench-large", "version": "1.0.0"}, external=True)
    return folder


def _write(
    folder: Path, nodes: list, weights: list, width_in: list[int], width_out: list[int], card: dict, *,
    external: bool = False,
) -> None:  # fmt: skip
    folder.mkdir(parents=True)
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", *width_in])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", *width_out])]
    graph = helper.make_graph(nodes, card["name"], inputs, outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], producer_name="benchmarks")
    model.ir_version = 10
    onnx.save(
        model, folder / "model.onnx", save_as_external_data=external, location="weights.bin" if external else None
    )
    described = {**card, "author": "benchmarks", "license": "Apache-2.0", "description": "Random weights."}
    (folder / "hyperion.json").write_text(json.dumps(described))


def _write_golden(folder: Path) -> None:
    import onnxruntime

    x = np.random.default_rng(7).normal(size=(4, MLP_WIDTHS[0])).astype(np.float32)
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    (folder / "golden").mkdir()
    np.savez(folder / "golden" / "sample.npz", **{"input:x": x, "output:y": session.run(None, {"x": x})[0]})
