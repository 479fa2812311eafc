"""Measure what quantizing costs and saves, and write its section of the page (``make bench-quantization``).

python -m benchmarks.quantization [--only accuracy,latency,load,packaging] [--strict]

A run of everything is kept and printed on the page; any other is only shown.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable

from benchmarks.measure import Result, report
from benchmarks.page import Run, keep, machine
from benchmarks.quantization import accuracy, latency, load, packaging
from benchmarks.quantization.bench import Bench

PARTS: dict[str, Callable[[Bench], Result]] = {
    "accuracy": accuracy.measure,
    "latency": latency.measure,
    "load": load.measure,
    "packaging": packaging.measure,
}
LIBRARIES = ("onnxruntime", "onnx", "numpy", "scikit-learn", "skl2onnx")
ABOUT = (
    "Public models: scikit-learn's MLPs on digits and breast cancer, a small convolutional net on 5,000 MNIST digits, "
    "MiniLM-L6 as an encoder of sentences and, with a linear head, as a classifier of Reuters R8. They are made or "
    "fetched once and kept in .cache. Every answer is on test rows that no decision saw; *auto within a budget* is "
    "`--quantize auto` with a budget of half a point of accuracy, searched for on rows of the training set. All "
    "sessions have one thread. A loss within its interval may be chance, in either direction."
)


def main() -> int:
    options = _options()
    wanted = options.only.split(",") if options.only else list(PARTS)
    before, started = os.getloadavg()[0], time.perf_counter()
    results = []
    bench = Bench()
    try:
        for name in wanted:
            results.append(PARTS[name](bench))
            report(results[-1])
    finally:
        bench.close()
    seconds = time.perf_counter() - started
    print(f"measured for {seconds / 60:.1f} minutes; load average {before:.1f} before, {os.getloadavg()[0]:.1f} after")
    if not options.only:
        facts = (*machine(LIBRARIES, before), f"measured for {seconds / 60:.0f} minutes")
        keep("quantization", Run("Quantized weights", "make bench-quantization", ABOUT, facts, tuple(results)))
    missed = sum(not figure.holds for result in results for figure in result.figures)
    print(f"bench-quantization: {sum(len(result.figures) for result in results)} rows, {missed} targets not met")
    return 1 if options.strict and missed else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quantization", description=__doc__)
    parser.add_argument("--only", metavar="PARTS", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--strict", action="store_true", help="exit with 1 where a target is not met")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
