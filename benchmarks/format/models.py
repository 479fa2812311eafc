"""Model directories for the format's benchmarks: nothing but weights, written layer by layer, never held whole."""

from __future__ import annotations

import json
from math import isqrt
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

MIB = 2**20
LAYER_MIB = 64
"""Of the large model; 2048 MiB make 32 layers."""
NOTES = "Random weights, made to be measured.\n"


def layer_count(size_mb: int) -> int:
    """How many layers of 64 MiB the large model has."""
    return max(2, size_mb // LAYER_MIB)


def write_model(folder: Path, layers: int, layer_bytes: int, *, version: str = "1.0.0", seed: int = 0) -> Path:
    """A chain of ``layers`` square float32 matrices of about ``layer_bytes`` each, every one a file of its own.

    Args:
        folder: Made here.
        layers: How many matrices.
        layer_bytes: Of one matrix; the side is rounded down to a multiple of 16.
        version: Of the model.
        seed: Of the weights.
    """
    side = isqrt(layer_bytes // 4) // 16 * 16
    (folder / "weights").mkdir(parents=True)
    random = np.random.default_rng(seed)
    nodes, weights, last = [], [], "x"
    for index in range(layers):
        location = f"weights/layer{index:02}.bin"
        random.random((side, side), dtype=np.float32).tofile(folder / location)
        weights.append(_external(f"layers.{index}.weight", side, location))
        nodes.append(helper.make_node("MatMul", [last, weights[-1].name], [f"h{index}"], name=f"layer{index}"))
        last = f"h{index}"
    nodes[-1].output[0] = "y"
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", side]) for name in "xy"]
    graph = helper.make_graph(nodes, "bench-format", ends[:1], ends[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], producer_name="benchmarks")
    model.ir_version = 10
    onnx.save(model, folder / "model.onnx")
    _write_small_files(folder, {"name": "bench-format", "version": version})
    return folder


def write_asset_model(folder: Path, assets: int, asset_bytes: int) -> Path:
    """A model of one tiny layer with ``assets`` files of ``asset_bytes`` random bytes each."""
    write_model(folder, 1, 64 * 64 * 4)
    place = folder / "assets" / "data"
    place.mkdir(parents=True)
    random = np.random.default_rng(1)
    for index in range(assets):
        with (place / f"part{index:05}.bin").open("wb") as stream:
            stream.write(b"DATA")  # no magic number of anything that the format refuses
            for done in range(4, asset_bytes, 64 * MIB):
                stream.write(random.bytes(min(64 * MIB, asset_bytes - done)))
    return folder


def _external(name: str, side: int, location: str) -> TensorProto:
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=(side, side))
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", "0"), ("length", str(4 * side * side))):
        tensor.external_data.add(key=key, value=value)
    return tensor


def _write_small_files(folder: Path, card: dict[str, str]) -> None:
    described = {**card, "author": "benchmarks", "license": "Apache-2.0", "description": NOTES.strip()}
    (folder / "hyperion.json").write_text(json.dumps(described))
    (folder / "README.md").write_text(NOTES)
    (folder / "config").mkdir()
    (folder / "config" / "labels.json").write_text(json.dumps({"classes": [f"class {n}" for n in range(100)]}))
