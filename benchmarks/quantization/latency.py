"""Latency of encoders, quantized against float, and against plain ONNX Runtime on the same quantized graph."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np

from benchmarks.format.rounds import Timing, measured
from benchmarks.measure import Figure, Result
from benchmarks.quantization import texts
from benchmarks.quantization.bench import Bench
from benchmarks.quantization.plain import plain_model
from benchmarks.quantization.recipe import Feeds, Runner, session_runner

COMMAND = "python -m benchmarks.quantization --only latency"
TOKENS = 64
BATCHES = {1: 20, 32: 2}
"""Rows of one call, and calls of one measurement."""
SCHEMES = {"int8": 1.0, "w8": None, "w4": None}
"""What each may take of the time of float."""
NEVER_SLOWER = 1.03


def measure(bench: Bench) -> Result:
    """MiniLM at both batches, every way in turns."""
    recipe = texts.minilm()
    runners: dict[str, Runner] = {"none": bench.packaged(recipe, "none").runner}
    for scheme in SCHEMES:
        packaged = bench.packaged(recipe, scheme)
        runners[scheme] = packaged.runner
        runners[f"plain {scheme}"] = session_runner(plain_model(packaged.path, bench.folder / f"plain-{scheme}"))
    figures = [figure for rows, calls in BATCHES.items() for figure in _rows(runners, rows, calls)]
    what = f"One call of MiniLM-L6 with {TOKENS} tokens a row, one thread, sessions warm"
    return Result("latency", what, COMMAND, tuple(figures))


def _rows(runners: dict[str, Runner], rows: int, calls: int) -> Iterator[Figure]:
    random = np.random.default_rng(0)
    ids = random.integers(1000, 20000, (rows, TOKENS))
    feeds = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    found = measured({name: _timed(run, feeds, calls) for name, run in runners.items()}, times=2)
    for scheme, bar in SCHEMES.items():
        title = f"MiniLM-L6 {scheme}, batch {rows}"
        yield _figure(f"{title}, against float", found[scheme], "the float package", found["none"], bar)
        same = found[f"plain {scheme}"]
        yield _figure(f"{title}, the same graph", found[scheme], "plain ONNX Runtime", same, NEVER_SLOWER)


def _timed(run: Runner, feeds: Feeds, calls: int) -> Callable[[], float]:
    def once() -> float:
        started = time.perf_counter()
        for _ in range(calls):
            run(feeds)
        return (time.perf_counter() - started) / calls

    return once


def _figure(title: str, ours: Timing, against: str, reference: Timing, bar: float | None) -> Figure:
    low, high = ours.spread
    return Figure(
        title, "ms", 1e3 * ours.seconds, (1e3 * low, 1e3 * high), against, 1e3 * reference.seconds, bar=bar,
        note=f"{ours.how.capitalize()}.",
    )  # fmt: skip
