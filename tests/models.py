"""Small real models for tests, written as model directories with onnx.helper."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FEATURES, HIDDEN, CLASSES = 32, 64, 8
LABELS = tuple(f"class{i}" for i in range(CLASSES))


def mlp(seed: int = 0, *, hidden: int = HIDDEN, gemm: bool = True, nan: bool = False) -> onnx.ModelProto:
    """A float32 MLP [batch, 32] → [batch, 8] with softmax; ``gemm=False`` writes MatMul + Add."""
    random = np.random.default_rng(seed)

    def weight(name: str, *shape: int) -> onnx.TensorProto:
        values = random.normal(0, 1 / np.sqrt(shape[0]), shape).astype(np.float32)
        if nan and name == "fc2.weight":
            values[0, 0] = np.nan
        return numpy_helper.from_array(values, name)

    initializers = [
        weight("fc1.weight", FEATURES, hidden),
        weight("fc1.bias", hidden),
        weight("fc2.weight", hidden, CLASSES),
        weight("fc2.bias", CLASSES),
    ]
    if gemm:
        nodes = [
            helper.make_node("Gemm", ["x", "fc1.weight", "fc1.bias"], ["h"], name="fc1"),
            helper.make_node("Relu", ["h"], ["r"], name="relu"),
            helper.make_node("Gemm", ["r", "fc2.weight", "fc2.bias"], ["logits"], name="fc2"),
        ]
    else:
        nodes = [
            helper.make_node("MatMul", ["x", "fc1.weight"], ["m1"], name="fc1"),
            helper.make_node("Add", ["m1", "fc1.bias"], ["h"], name="fc1_add"),
            helper.make_node("Relu", ["h"], ["r"], name="relu"),
            helper.make_node("MatMul", ["r", "fc2.weight"], ["m2"], name="fc2"),
            helper.make_node("Add", ["m2", "fc2.bias"], ["logits"], name="fc2_add"),
        ]
    nodes.append(helper.make_node("Softmax", ["logits"], ["probabilities"], name="softmax", axis=-1))
    graph = helper.make_graph(
        nodes,
        "mlp",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", FEATURES])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", CLASSES])],
        initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], producer_name="tests")
    model.ir_version = 9
    return model


def inputs(rows: int = 4, seed: int = 1) -> np.ndarray:
    """float32 [rows, 32]."""
    return np.random.default_rng(seed).normal(size=(rows, FEATURES)).astype(np.float32)


def expected(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    """What the model answers, by ONNX Runtime itself."""
    import onnxruntime

    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": x})[0])


def write_model_dir(
    folder: Path,
    seed: int = 0,
    *,
    name: str = "test-mlp",
    version: str = "1.0.0",
    golden: bool = True,
    model: onnx.ModelProto | None = None,
) -> Path:
    """A complete model directory: model.onnx, hyperion.json, golden/."""
    folder.mkdir(parents=True, exist_ok=True)
    proto = model if model is not None else mlp(seed)
    onnx.save(proto, folder / "model.onnx")
    card = {
        "name": name, "version": version, "description": "A small MLP for tests.", "author": "Hyperion tests",
        "license": "Apache-2.0", "labels": list(LABELS), "tags": ["test"],
    }  # fmt: skip
    (folder / "hyperion.json").write_text(json.dumps(card))
    if golden:
        (folder / "golden").mkdir(exist_ok=True)
        x = inputs()
        np.savez(folder / "golden" / "sample.npz", **{"input:x": x, "output:probabilities": expected(proto, x)})
        (folder / "golden" / "sample.json").write_text(json.dumps({"absolute": 0.05, "relative": 0.05}))
    return folder


def write_dataset(folder: Path, rows: int = 64, seed: int = 2) -> Path:
    """A labelled dataset: ``part0.npz`` with arrays ``x`` and ``label`` (labels by the float model of seed 0)."""
    folder.mkdir(parents=True, exist_ok=True)
    x = inputs(rows, seed)
    np.savez(folder / "part0.npz", x=x, label=expected(mlp(0), x).argmax(axis=1))
    return folder
