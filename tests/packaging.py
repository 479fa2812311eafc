"""Packaging in tests: the real adapters, and graphs beyond tests.models."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from hyperion.adapters.conversion.model_converters import ChildConverters
from hyperion.adapters.engine.onnxruntime_engine import OnnxRuntimeEngine
from hyperion.adapters.files.package_files import LocalPackages
from hyperion.adapters.host.host_facts import LocalHostFacts
from hyperion.adapters.host.system_clock import SystemClock
from hyperion.adapters.onnx.architecture import parse_architecture
from hyperion.adapters.onnx.graph import OnnxGraphs
from hyperion.adapters.onnx.model_directory import ModelDirectories
from hyperion.adapters.processing.route import LocalProcessors
from hyperion.domain.manifest import ARCHITECTURE
from hyperion.ports import Array, Host
from hyperion.quantization.graph import all_graphs
from hyperion.usecases.load import LoadedModel, load_model
from hyperion.usecases.package import PackageOptions, PackageSummary, package_model
from tests.fakes.proofs import InMemoryProofRecord
from tests.fakes.reporter import CollectingReporter
from tests.fakes.reports import InMemoryReportStore
from tests.partial_host import files_host


def packaging_host(state: Path) -> Host:
    """A host that can package and load."""
    return files_host(
        state,
        sources=ModelDirectories(),
        converters=ChildConverters(state),
        graphs=OnnxGraphs(),
        engine=OnnxRuntimeEngine(),
        processors=LocalProcessors(),
        reports=InMemoryReportStore(),
        facts=LocalHostFacts(state),
    )


def pack(
    folder: Path, output: Path, quantize: str = "auto", *, host: Host | None = None, **options: Any
) -> PackageSummary:
    """Package ``folder`` with the real adapters."""
    host = packaging_host(output.parent) if host is None else host
    return package_model(host, PackageOptions(folder, output, quantize, **options), CollectingReporter())  # type: ignore[arg-type]


def load(path: Path) -> LoadedModel:
    return load_model(
        LocalPackages(), OnnxRuntimeEngine(), path,
        processors=LocalProcessors(), proofs=InMemoryProofRecord(), clock=SystemClock(),
    )  # fmt: skip


def operators(path: Path) -> Counter[str]:
    """Operators of a package, inner graphs included."""
    with LocalPackages().open(path) as package:
        model = parse_architecture(package.read(ARCHITECTURE), str(path))
    return Counter(node.op_type for _, graph in all_graphs(model.graph) for node in graph.node)


def relative_error(expected: np.ndarray, found: np.ndarray) -> float:
    return float(np.linalg.norm(expected - found) / np.linalg.norm(expected))


def answers(model: onnx.ModelProto | Path, feeds: dict[str, Array]) -> dict[str, Array]:
    """What plain ONNX Runtime answers with one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    given = str(model) if isinstance(model, Path) else model.SerializeToString()
    session = onnxruntime.InferenceSession(given, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds), strict=True))


def write_model(folder: Path, model: onnx.ModelProto, **save: Any) -> Path:
    """A directory with nothing but model.onnx."""
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(model, folder / "model.onnx", **save)
    return folder


def weight(name: str, *shape: int, seed: int = 0) -> TensorProto:
    """A float32 initializer of sensible scale."""
    values = np.random.default_rng(seed).normal(size=shape) / np.sqrt(shape[0])
    return numpy_helper.from_array(values.astype(np.float32), name)


def tensor(name: str, *shape: int | str, kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def model_of(
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    initializers: list[TensorProto],
    *,
    opset: int = 17,
    value_info: list[onnx.ValueInfoProto] | None = None,
) -> onnx.ModelProto:
    graph = helper.make_graph(nodes, "graph", inputs, outputs, initializers, value_info=value_info)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


def cnn(seed: int = 0) -> onnx.ModelProto:
    """Two convolutions and a transposed Gemm, [n, 3, h, w] → [n, 10]."""
    node = helper.make_node
    return model_of(
        [
            node("Conv", ["image", "c1.weight", "c1.bias"], ["a"], "c1", pads=[1, 1, 1, 1]),
            node("Relu", ["a"], ["b"], "relu1"),
            node("Conv", ["b", "c2.weight"], ["c"], "c2", strides=[2, 2], auto_pad="SAME_UPPER"),
            node("Relu", ["c"], ["d"], "relu2"),
            node("GlobalAveragePool", ["d"], ["e"], "pool"),
            node("Flatten", ["e"], ["f"], "flatten"),
            node("Gemm", ["f", "fc.weight", "fc.bias"], ["scores"], "fc", transB=1),
        ],
        [tensor("image", "n", 3, "h", "w")],
        [tensor("scores", "n", 10)],
        [
            weight("c1.weight", 16, 3, 3, 3, seed=seed),
            weight("c1.bias", 16, seed=seed),
            weight("c2.weight", 32, 16, 3, 3, seed=seed),
            weight("fc.weight", 10, 32, seed=seed),
            weight("fc.bias", 10, seed=seed),
        ],
    )


def names_and_scores(features: int = 32) -> onnx.ModelProto:
    """A classifier as skl2onnx writes it: float32 [n, features] → names (strings) [n] and scores [n, classes]."""
    names = ["setosa", "versicolor", "virginica"]
    slopes = np.random.default_rng(0).normal(size=len(names) * features)
    classify = helper.make_node(
        "LinearClassifier", ["x"], ["label", "scores"], "classify", domain="ai.onnx.ml", coefficients=slopes.tolist(),
        intercepts=[0.0] * len(names), classlabels_strings=names, post_transform="SOFTMAX",
    )  # fmt: skip
    outputs = [tensor("label", "n", kind=TensorProto.STRING), tensor("scores", "n", len(names))]
    model = model_of([classify], [tensor("x", "n", features)], outputs, [])
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 1))
    return model


def embedder(rows: int = 100, width: int = 64) -> onnx.ModelProto:
    """Token ids int64 [batch, sequence] → mean of their embeddings through a linear layer, [batch, width]."""
    node = helper.make_node
    return model_of(
        [
            node("Gather", ["table", "ids"], ["rows"], "embed"),
            node("ReduceMean", ["rows"], ["mean"], "mean", axes=[1], keepdims=0),
            node("MatMul", ["mean", "proj.weight"], ["embedding"], "proj"),
        ],
        [tensor("ids", "batch", "sequence", kind=TensorProto.INT64)],
        [tensor("embedding", "batch", width)],
        [weight("table", rows, width), weight("proj.weight", width, width)],
    )


def branching(*, outer: bool = False) -> onnx.ModelProto:
    """If on a flag: one of two linear layers; their weights lie in the branches, or outside of them."""
    node = helper.make_node
    weights = [weight("then.weight", 32, 16, seed=1), weight("else.weight", 32, 16, seed=2)]

    def branch(name: str, held: TensorProto) -> onnx.GraphProto:
        return helper.make_graph(
            [node("MatMul", ["x", held.name], [f"{name}_y"], f"{name}_linear")],
            name,
            [],
            [tensor(f"{name}_y", "batch", 16)],
            [] if outer else [held],
        )

    choice = node(
        "If", ["flag"], ["y"], "choose", then_branch=branch("then", weights[0]), else_branch=branch("else", weights[1])
    )
    return model_of(
        [choice],
        [tensor("x", "batch", 32), tensor("flag", kind=TensorProto.BOOL)],
        [tensor("y", "batch", 16)],
        weights if outer else [],
    )


def fragile() -> onnx.ModelProto:
    """Three linear layers, [n, 64] → [n, 64]; the answers of int8 agree only where the last one stays in float."""
    random = np.random.default_rng(0)
    wild = random.normal(size=(64, 64))
    wild[:, 0] *= 1e4  # feature 0 dwarfs the others for everything that reads one scale for the activation
    last = np.concatenate([np.zeros((1, 64)), random.normal(size=(63, 64))])
    node = helper.make_node
    return model_of(
        [
            node("MatMul", ["x", "calm"], ["a"], "calm"),
            node("MatMul", ["a", "wild"], ["b"], "wild"),
            node("MatMul", ["b", "last"], ["y"], "last"),
        ],
        [tensor("x", "n", 64)],
        [tensor("y", "n", 64)],
        [
            weight("calm", 64, 64),
            numpy_helper.from_array(wild.astype(np.float32), "wild"),
            numpy_helper.from_array(last.astype(np.float32), "last"),
        ],
    )
