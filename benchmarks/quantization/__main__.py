"""Measure what quantizing costs and saves, and write its section of the page (``make bench-quantization``).

python -m benchmarks.quantization [--only accuracy,latency,load,packaging] [--strict]

Each part is kept as soon as it is measured, in place of the same part of an earlier run, with its own date and load:
latency and load need an idle machine, accuracy and packaging do not.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime

from benchmarks.measure import Result, report
from benchmarks.page import RESULTS, Run, keep, machine, read_run
from benchmarks.quantization import accuracy, latency, load, packaging
from benchmarks.quantization.bench import Bench

PARTS: dict[str, Callable[[Bench], Result]] = {
    "accuracy": accuracy.measure,
    "latency": latency.measure,
    "load": load.measure,
    "packaging": packaging.measure,
}
SECTION = "quantization"
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
    results = []
    bench = Bench()
    try:
        for name in wanted:
            before, started = os.getloadavg()[0], time.perf_counter()
            results.append(PARTS[name](bench))
            report(results[-1])
            _keep(name, results[-1], before, (time.perf_counter() - started) / 60)
    finally:
        bench.close()
    missed = sum(not figure.holds for result in results for figure in result.figures)
    print(f"bench-quantization: {sum(len(result.figures) for result in results)} rows, {missed} targets not met")
    return 1 if options.strict and missed else 0


def _keep(part: str, result: Result, load_before: float, minutes: float) -> None:
    """Put the part in the place of the same part of the run that is kept, with when and under what load it was made."""
    path = RESULTS / f"{SECTION}.json"
    earlier = read_run(path) if path.is_file() else None
    results = {} if earlier is None else {found.name: found for found in earlier.results}
    results[result.name] = result
    dated = {} if earlier is None else {fact.split(":")[0]: fact for fact in earlier.machine}
    load = f"load average {load_before:.1f} before, {os.getloadavg()[0]:.1f} after"
    dated[part] = f"{part}: measured {datetime.now(UTC):%Y-%m-%d %H:%M} UTC for {minutes:.0f} minutes, {load}"
    facts = (*machine(LIBRARIES, load_before), *(dated[name] for name in PARTS if name in dated))
    ordered = sorted(results.values(), key=lambda found: list(PARTS).index(found.name))
    keep(SECTION, Run("Quantized weights", "make bench-quantization", ABOUT, facts, tuple(ordered)))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quantization", description=__doc__)
    parser.add_argument("--only", metavar="PARTS", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--strict", action="store_true", help="exit with 1 where a target is not met")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
