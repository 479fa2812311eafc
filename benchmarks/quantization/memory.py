"""Anonymous memory while packaging: a synthetic model of any size, packaged in a process that is watched.

    python -m benchmarks.quantization.memory 2000000000 int8 w4 w8 auto

Every process of the run counts, the children that packaging starts too. What a page of a file needs is not counted:
the kernel drops it when memory is short.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.measure import ROOT

WIDTH = 4096
SAMPLE_S = 0.002
MIB = 1024**2

CHILD = """
import sys
import hyperion, numpy, onnx, onnxruntime
import hyperion.bootstrap, hyperion.usecases.package
hyperion.bootstrap.open_host()
print("ready", flush=True)
sys.stdin.readline()
summary = hyperion.package(sys.argv[1], sys.argv[2], sys.argv[3])
print(summary.model_dump_json(), flush=True)
"""


def measure(size_bytes: int, scheme: str, model: Path | None = None) -> dict[str, object]:
    """Package a model of about ``size_bytes`` of float weights.

    Args:
        size_bytes: Of the weights; a multiple of one layer, 64 MiB, is made of it.
        scheme: As ``--quantize``.
        model: A model directory made by ``write_model``; by default one is made and removed again.

    Returns:
        ``model_bytes``, ``package_bytes``, ``import_anonymous_bytes``, ``peak_anonymous_bytes``,
        ``above_import_bytes``, ``seconds``, ``samples``, ``scheme`` and ``requested``.
    """
    with tempfile.TemporaryDirectory(prefix="hyperion-memory-", dir=_place()) as place:
        folder = model or write_model(Path(place, "model"), size_bytes)
        return _watched(folder, Path(place, "m.hyperion"), scheme, Path(place, "home"))


def write_model(folder: Path, size_bytes: int) -> Path:
    """Layers of MatMul, bias, Tanh and residual, 4096 wide, with their weights in one external file."""
    import onnx
    from onnx import TensorProto, helper

    folder.mkdir(parents=True)
    count = max(1, round(size_bytes / (4 * WIDTH * WIDTH)))
    random = np.random.default_rng(0)
    nodes, tensors, name = [], [], "x"
    with (folder / "weights.bin").open("wb") as file:
        for index in range(count):
            for suffix, shape in (("weight", (WIDTH, WIDTH)), ("bias", (WIDTH,))):
                tensor = TensorProto(name=f"layer.{index}.{suffix}", data_type=TensorProto.FLOAT, dims=shape)
                tensor.data_location = TensorProto.EXTERNAL
                values = random.normal(0, WIDTH**-0.5, shape).astype(np.float32)
                for key, value in (
                    ("location", "weights.bin"),
                    ("offset", str(file.tell())),
                    ("length", str(values.nbytes)),
                ):
                    tensor.external_data.add(key=key, value=value)
                file.write(values.tobytes())
                tensors.append(tensor)
            node = helper.make_node
            nodes += [
                node("MatMul", [name, f"layer.{index}.weight"], [f"p{index}"], f"layer.{index}.linear"),
                node("Add", [f"p{index}", f"layer.{index}.bias"], [f"b{index}"], f"layer.{index}.add"),
                node("Tanh", [f"b{index}"], [f"t{index}"], f"layer.{index}.tanh"),
                node("Add", [name, f"t{index}"], [f"r{index}"], f"layer.{index}.residual"),
            ]
            name = f"r{index}"
    wide = [helper.make_tensor_value_info(text, TensorProto.FLOAT, ["n", WIDTH]) for text in ("x", name)]
    graph = helper.make_graph(nodes, "graph", wide[:1], wide[1:], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, folder / "model.onnx")
    return folder


def _place() -> Path:
    """A folder on a real disk: what lies in a tmpfs would be memory itself."""
    folder = ROOT / ".cache"
    folder.mkdir(exist_ok=True)
    return folder


def _watched(folder: Path, output: Path, scheme: str, home: Path) -> dict[str, object]:
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, str(folder), str(output), scheme],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={"HYPERION_HOME": str(home), "PATH": ""}, text=True,
    ) as child:  # fmt: skip
        try:
            found = _sampled(child)
        finally:
            child.kill()
    return {
        "requested": scheme,
        "model_bytes": sum(path.stat().st_size for path in folder.iterdir()),
        "package_bytes": output.stat().st_size,
        **found,
    }


def _sampled(child: subprocess.Popen[str]) -> dict[str, object]:
    """Let it package, and watch it until it is done."""
    assert child.stdin is not None
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    before = _anonymous(child.pid)
    child.stdin.write("go\n")
    child.stdin.flush()
    started, peak, samples = time.monotonic(), before, 0
    while child.poll() is None:
        peak = max(peak, sum(_anonymous(pid) for pid in _family(child.pid)))
        samples += 1
        time.sleep(SAMPLE_S)
    if child.returncode != 0:
        raise RuntimeError(f"packaging ended with status {child.returncode}")
    return {
        "scheme": json.loads(child.stdout.read())["scheme"],
        "import_anonymous_bytes": before,
        "peak_anonymous_bytes": peak,
        "above_import_bytes": peak - before,
        "seconds": round(time.monotonic() - started, 1),
        "samples": samples,
    }


def _anonymous(pid: int) -> int:
    """Anonymous bytes of a process: RssAnon, which the kernel keeps count of; 0 where it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:"))


def _family(pid: int) -> Iterator[int]:
    """A process and all below it."""
    yield pid
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
        children = [int(text) for thread in threads for text in (thread / "children").read_text().split()]
    except OSError:
        return
    for child in children:
        yield from _family(child)


def main(words: list[str]) -> None:
    """Print one line for each scheme; the model is made once."""
    size = int(words[0])
    with tempfile.TemporaryDirectory(prefix="hyperion-memory-", dir=_place()) as place:
        model = write_model(Path(place, "model"), size)
        for scheme in words[1:]:
            found = measure(size, scheme, model)
            above, peak = (int(str(found[key])) / MIB for key in ("above_import_bytes", "peak_anonymous_bytes"))
            print(f"{scheme}: {above:.0f} MiB above import (peak {peak:.0f}), {json.dumps(found)}", flush=True)
        shutil.rmtree(model)


if __name__ == "__main__":
    main(sys.argv[1:])
