"""An image of 3 x 224 x 224 floats, as binary tensor data and as JSON: CPU per request of our server."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from benchmarks.measure import Figure, Result, median, report, service, spread, take_turns
from benchmarks.serving.cost import cost_ms
from benchmarks.serving.load import post

NAME, SHAPE = "pixels", (1, 3, 224, 224)
BAR, COUNT, RATE_PER_S = 0.1, 100, 20


def measure(rounds: int = 5) -> Result:
    """The model only averages each channel, so that what is compared is the way in."""
    pixels = np.random.default_rng(0).random(SHAPE, dtype=np.float32)
    with service() as host:
        host.deploy(host.package(_write_model(host.folder / "pixels"), "--quantize", "none"), NAME)
        pid = int(host.run("status")["supervisor"]["pid"])
        requests = {"binary": [_binary(pixels)], "json": [_json(pixels)]}
        found = take_turns(
            {way: lambda way=way: cost_ms(host.port, pid, requests[way], COUNT, RATE_PER_S) for way in requests}, rounds
        )
    figure = Figure(
        "CPU per request with an image of 3 x 224 x 224 floats, binary", "ms", median(found["binary"]),
        spread(found["binary"]), against="the same as JSON", reference=median(found["json"]), bar=BAR, key="B1",
        note=f"{COUNT} requests a round, {RATE_PER_S} a second; {pixels.nbytes / 1e6:.1f} MB as bytes, "
        f"{len(requests['json'][0]) / 1e6:.1f} MB as JSON. Receiving the bytes is part of both.",
    )  # fmt: skip
    what = f"Binary tensors, median of {rounds} rounds"
    return Result("binary", what, "python -m benchmarks.serving.binary", (figure,))


def _binary(pixels: np.ndarray) -> bytes:
    tensor = {
        "name": "x", "datatype": "FP32", "shape": list(SHAPE), "parameters": {"binary_data_size": pixels.nbytes},
    }  # fmt: skip
    document = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    return post(NAME, document + pixels.tobytes(), f"Inference-Header-Content-Length: {len(document)}")


def _json(pixels: np.ndarray) -> bytes:
    data = [round(value, 6) for value in pixels.ravel().tolist()]
    tensor = {"name": "x", "datatype": "FP32", "shape": list(SHAPE), "data": data}
    return post(NAME, json.dumps({"inputs": [tensor]}, separators=(",", ":")).encode())


def _write_model(folder: Path) -> Path:
    folder.mkdir()
    graph = helper.make_graph(
        [helper.make_node("ReduceMean", ["x"], ["y"], axes=[2, 3], keepdims=0)],
        NAME,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", *SHAPE[1:]])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", SHAPE[1]])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, folder / "model.onnx")
    card = {"name": NAME, "version": "1.0.0", "author": "benchmarks", "license": "Apache-2.0", "description": "Means."}
    (folder / "hyperion.json").write_text(json.dumps(card))
    return folder


if __name__ == "__main__":
    sys.exit(report(measure()))
