"""A process that loads one model as a worker would, says what that took, and stays until its input ends.

    python -m benchmarks.quantization.load_child plain MODEL.onnx
    python -m benchmarks.quantization.load_child package F.hyperion STATE
    python -m benchmarks.quantization.load_child image F.hyperion STATE KEY IMAGE

What is timed begins after all imports and ends with the first answer; the check of the image's digest is in it.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime

Feeds = dict[str, np.ndarray]
Run = Callable[[Feeds], object]


def plain(path: str) -> Callable[[], Run]:
    """ONNX Runtime alone, with the options of our sessions."""

    def load() -> Run:
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = settings.inter_op_num_threads = 1
        settings.log_severity_level = 4
        settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
        session = onnxruntime.InferenceSession(path, settings, providers=["CPUExecutionProvider"])
        return lambda feeds: session.run(None, feeds)

    return load


def package(path: str, state: str) -> Callable[[], Run]:
    """In place from the package; its graph was prepared by an earlier load."""
    from hyperion.adapters.engine.onnxruntime_engine import OnnxRuntimeEngine
    from hyperion.adapters.engine.prepared_graphs import PreparedGraphs
    from hyperion.adapters.files.package_files import LocalPackages

    packages, engine = LocalPackages(), OnnxRuntimeEngine(PreparedGraphs(Path(state)))

    def load() -> Run:
        with packages.open(Path(path)) as opened:
            return engine.load(opened).run

    return load


def image(path: str, state: str, key: str, name: str) -> Callable[[], Run]:
    """From the host image, whose files were digested before and are unchanged."""
    from hyperion.adapters.engine.host_images import LocalHostImages
    from hyperion.adapters.engine.onnxruntime_engine import OnnxRuntimeEngine
    from hyperion.adapters.files.package_files import LocalPackages
    from hyperion.adapters.host.system_clock import SystemClock
    from hyperion.adapters.store.proof_record import SqliteProofRecord
    from hyperion.ports import SessionOptions

    packages, engine, options = LocalPackages(), OnnxRuntimeEngine(), SessionOptions()
    images = LocalHostImages(Path(state), engine, SqliteProofRecord(Path(state)), SystemClock())

    def load() -> Run:
        with packages.open(Path(path)) as opened:
            choice = images.choose(opened.digest, options, {key: name})
            if choice.folder is None:
                raise RuntimeError(choice.fault)
            return engine.load_image(opened, choice.folder, options).run

    return load


WAYS: dict[str, Callable[..., Callable[[], Run]]] = {"plain": plain, "package": package, "image": image}


def memory_mb() -> dict[str, float]:
    """Resident, proportional and anonymous memory of this process, in MiB."""
    text = Path("/proc/self/smaps_rollup").read_text()
    found = {name: re.search(rf"^{name}:\s+(\d+) kB", text, re.MULTILINE) for name in ("Rss", "Pss", "Anonymous")}
    return {name.lower(): int(match[1]) / 1024 for name, match in found.items() if match is not None}


def main(way: str, inputs: str, *arguments: str) -> None:
    with np.load(inputs) as stored:
        one = dict(stored)
    load = WAYS[way](*arguments)
    before = memory_mb()
    started = time.perf_counter()
    run = load()
    loaded = time.perf_counter()
    run(one)
    answered = time.perf_counter()
    for _ in range(2):
        run(one)
    times = {"load_ms": 1000 * (loaded - started), "first_result_ms": 1000 * (answered - started)}
    print(json.dumps(times | {"before": before}), flush=True)
    for _ in sys.stdin:  # each line asks for the memory, as it is while other processes hold the same model
        print(json.dumps(memory_mb()), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
