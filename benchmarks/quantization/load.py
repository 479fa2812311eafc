"""Loading: from the package and from its host image, against plain ONNX Runtime; and what workers take together.

Every load has a process of its own, as a worker has, and the ways take turns; the shortest of each counts, since all
else that a shared machine does can only add to a time.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks.measure import HYPERION, ROOT, Figure, Result
from benchmarks.quantization.bench import Bench, RefusedError
from benchmarks.quantization.plain import plain_model

COMMAND = "python -m benchmarks.quantization --only load"
ROUNDS = 7
LAYERS, WIDTH = 24, 2048
SETTLED_S = 2.5
"""What files must be old for their state to be believed (format.file_state)."""
WORKERS = 4
IN_PLACE, FLOAT_IMAGE, QUANTIZED_IMAGE = 1.05, 0.7, 0.95
ANONYMOUS_MB, SHARED, EACH_MB = 45.0, 1.4, 60.0
NEVER_SLOWER = 1.03
MIB = 1024**2


@dataclass
class Loading:
    """One package, and the ways to load it.

    Attributes:
        title: For tables.
        package: Its file.
        weights_bytes: Of the package.
        inputs: One request, as a file of numpy.
        ways: The arguments of load_child by way.
        scheme: ``none`` for a float model.
    """

    title: str
    package: Path
    weights_bytes: int
    inputs: Path
    scheme: str
    ways: dict[str, list[str]] = field(default_factory=dict)


def measure(bench: Bench) -> Result:
    """Both models in their schemes, every way in turns."""
    figures: list[Figure] = []
    for model, request, title in (
        (synthetic(bench.folder / "m400"), {"x": np.ones((1, WIDTH), np.float32)}, "24 × MatMul 2048²"),
        (_minilm(bench.folder / "minilm-load"), _tokens(), "MiniLM-L6"),
    ):
        if model is None:
            continue
        for scheme in ("none", "int8", "w4"):
            loading = prepare(bench, model, request, title, scheme)
            figures += figures_of(loading)
    what = "From the call to the first answer, one thread, in a fresh process each; memory of workers after it"
    return Result("load", what, COMMAND, tuple(figures))


def figures_of(loading: Loading) -> Iterator[Figure]:
    """The rows of one package: load ratios, memory of one and of four workers."""
    times = load_times(loading)
    name = f"{loading.title} {'float' if loading.scheme == 'none' else loading.scheme}"
    image_bar = FLOAT_IMAGE if loading.scheme == "none" else QUANTIZED_IMAGE
    yield _ratio(f"{name}, in place from the package", times, "package", IN_PLACE)
    yield _ratio(f"{name}, from the host image", times, "image", image_bar)
    for way, limit in (("package", None), ("image", ANONYMOUS_MB)):
        taken = anonymous_mb(loading, way)
        yield Figure(f"{name}, anonymous memory, {way}", "MiB", taken, (taken, taken), limit=limit)
    weights_mb = loading.weights_bytes / MIB
    limit = SHARED * weights_mb + WORKERS * EACH_MB
    for way, most in (("package", None), ("image", limit)):
        total = workers_pss_mb(loading, way)
        yield Figure(f"{name}, {WORKERS} workers' PSS, {way}", "MiB", total, (total, total), limit=most)
    found = latency_ratios(loading)
    yield Figure(
        f"{name}, a run of the same graph", "×", median(found), (min(found), max(found)), limit=NEVER_SLOWER,
        note=f"Against plain ONNX Runtime in turns, shortest runs; median of {len(found)} processes.",
    )  # fmt: skip


def load_times(loading: Loading, rounds: int = ROUNDS) -> dict[str, list[float]]:
    """Milliseconds to the first result by way, in turns."""
    found: dict[str, list[float]] = {way: [] for way in loading.ways}
    for _ in range(rounds):
        for way in loading.ways:
            with _child(loading, way) as (said, _):
                found[way].append(said["first_result_ms"])
    return found


def anonymous_mb(loading: Loading, way: str) -> float:
    """Anonymous memory of a process that loaded and ran the model."""
    with _child(loading, way) as (_, ask):
        return ask()["anonymous"]


def workers_pss_mb(loading: Loading, way: str, workers: int = WORKERS) -> float:
    """Sum of the proportional memory of processes that all have the model."""
    with contextlib.ExitStack() as stack:
        asks = [stack.enter_context(_child(loading, way))[1] for _ in range(workers)]
        return sum(ask()["pss"] for ask in asks)


def latency_ratios(loading: Loading, processes: int = 6) -> list[float]:
    """Our shortest run over ONNX Runtime's on the same graph, in turns, in fresh processes; either is loaded first."""
    ways = json.dumps({way: loading.ways[way] for way in ("plain", "package")})
    found = []
    for number in range(processes):
        first = ("plain", "package")[number % 2]
        command = [sys.executable, "-m", "benchmarks.quantization.same_graph", str(loading.inputs), first, ways]
        with _started(command) as child:
            found.append(_line(child)["ratio"])
    return found


def prepare(bench: Bench, model: Path, request: dict[str, np.ndarray], title: str, scheme: str) -> Loading:
    """Package a model, write its graph as plain ONNX, build its host image, and let all files settle.

    Raises:
        RefusedError: Packaging failed.
    """
    path = bench.folder / f"{model.name}-{scheme}.hyperion"
    words = ["package", "model", "--input", str(model), "--output", str(path), "--quantize", scheme]
    done = subprocess.run([HYPERION, *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RefusedError(f"{title}, {scheme}: {done.stderr.strip()[-300:]}")
    inputs = bench.folder / f"{model.name}.npz"
    np.savez(inputs, **request)
    state = bench.folder / "state"
    key, image, weights = _built(state, path, request)
    reference = plain_model(path, bench.folder / f"{model.name}-{scheme}-plain")
    found = Loading(title, path, weights, inputs, scheme)
    found.ways = {
        "plain": [str(reference)],
        "package": [str(path), str(state)],
        "image": [str(path), str(state), key, image],
    }
    time.sleep(SETTLED_S)
    for way in found.ways:  # prepares the graph, remembers the digests, warms the page cache
        with _child(found, way):
            pass
    return found


def synthetic(folder: Path) -> Path:
    """24 × (MatMul 2048², bias, tanh, residual): 403 MB of float weights in one external file."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    folder.mkdir(parents=True)
    random, nodes, tensors, name = np.random.default_rng(0), [], [], "x"
    for index in range(LAYERS):
        for suffix, shape in (("weight", (WIDTH, WIDTH)), ("bias", (WIDTH,))):
            values = random.normal(0, WIDTH**-0.5, shape).astype(np.float32)
            tensors.append(numpy_helper.from_array(values, f"layer.{index}.{suffix}"))
        node, last = helper.make_node, "y" if index == LAYERS - 1 else f"r{index}"
        nodes += [
            node("MatMul", [name, f"layer.{index}.weight"], [f"p{index}"], f"layer.{index}.linear"),
            node("Add", [f"p{index}", f"layer.{index}.bias"], [f"b{index}"], f"layer.{index}.add"),
            node("Tanh", [f"b{index}"], [f"t{index}"], f"layer.{index}.tanh"),
            node("Add", [name, f"t{index}"], [last], f"layer.{index}.residual"),
        ]
        name = last
    ends = [helper.make_tensor_value_info(text, TensorProto.FLOAT, ["batch", WIDTH]) for text in ("x", "y")]
    graph = helper.make_graph(nodes, "graph", ends[:1], ends[1:], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, folder / "model.onnx", save_as_external_data=True, location="model.data", size_threshold=1024)
    return folder


def _minilm(folder: Path) -> Path | None:
    """The encoder's model directory; None where it cannot be fetched, which its other figures tell."""
    from tests.downloads import UnavailableError

    from benchmarks.quantization import texts

    try:
        return texts.minilm().write(folder)
    except UnavailableError:
        return None


def _tokens() -> dict[str, np.ndarray]:
    ids = np.random.default_rng(0).integers(1000, 20000, (1, 64))
    return {"input_ids": ids, "attention_mask": np.ones_like(ids)}


def _built(state: Path, path: Path, request: dict[str, np.ndarray]) -> tuple[str, str, int]:
    """Key and digest of the host image that is built now, and the bytes of the package's weights."""
    from hyperion.adapters.engine.host_images import LocalHostImages
    from hyperion.adapters.engine.onnxruntime_engine import OnnxRuntimeEngine
    from hyperion.adapters.files.package_files import LocalPackages
    from hyperion.adapters.host.system_clock import SystemClock
    from hyperion.adapters.sandbox.child_sandbox import ChildSandbox
    from hyperion.adapters.store.proof_record import SqliteProofRecord
    from hyperion.ports import SessionOptions

    engine, clock = OnnxRuntimeEngine(), SystemClock()
    images = LocalHostImages(state, engine, SqliteProofRecord(state), clock, ChildSandbox())
    with LocalPackages().open(path) as package:
        built = images.build(path, package, [request], SessionOptions(), "the benchmark's request")
        return built.record.key, built.image, package.manifest.weights_bytes


def _ratio(title: str, times: dict[str, list[float]], way: str, bar: float) -> Figure:
    ours, reference = times[way], times["plain"]
    return Figure(
        title, "ms", min(ours), (min(ours), max(ours)), "plain ONNX Runtime, external data", min(reference), bar=bar,
        note=f"Shortest of {len(ours)} fresh processes each, in turns.",
    )  # fmt: skip


@contextlib.contextmanager
def _child(loading: Loading, way: str) -> Iterator[tuple[dict[str, float], Callable[[], dict[str, float]]]]:
    """A process that loaded the model: what it said, and a question for its memory."""
    command = [sys.executable, "-m", "benchmarks.quantization.load_child", way, str(loading.inputs)]
    with _started([*command, *loading.ways[way]]) as child:
        yield _line(child), lambda: _asked(child)


@contextlib.contextmanager
def _started(command: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        yield child
    finally:
        if child.stdin is not None:
            child.stdin.close()
        child.wait(60)


def _asked(child: subprocess.Popen[str]) -> dict[str, float]:
    assert child.stdin is not None
    child.stdin.write("memory\n")
    child.stdin.flush()
    return _line(child)


def _line(child: subprocess.Popen[str]) -> dict[str, float]:
    assert child.stdout is not None
    found: dict[str, float] = json.loads(child.stdout.readline())
    return found
