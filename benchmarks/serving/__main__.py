"""Measure serving beside its peers and write its section of the page (``make bench-serving``).

python -m benchmarks.serving [--rounds 5] [--only C,W,F,B] [--strict]

Only a run of everything with 5 rounds is kept.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable

from benchmarks.measure import report
from benchmarks.page import Run, keep, machine
from benchmarks.serving import against_peers, binary, flips, forwarding

ROUNDS = 5
PARTS: tuple[tuple[str, Callable[[int], object]], ...] = (
    ("C", against_peers.measure),
    ("W", lambda rounds: flips.measure(flips.FLIPS * rounds // ROUNDS)),
    ("F", forwarding.measure),
    ("B", binary.measure),
)
LIBRARIES = ("onnxruntime", "httptools", "uvloop", "numpy")
ABOUT = (
    "One worker with one inference thread, everywhere; the same ONNX file, 32 floats in, 8 out, v2 JSON. Ours runs as "
    "it is installed: supervisor, metrics, limits, log, gates and watch on. The peers run without metrics, in "
    "environments of their own (.cache/serving-peers); one that a machine cannot have is said to be unavailable, and "
    "why. Client and servers share the cores, unpinned."
)


def main() -> int:
    options = _options()
    before, results = os.getloadavg()[0], []
    for key, measure in PARTS:
        if not options.only or key in options.only:
            results.append(measure(options.rounds))
            report(results[-1])
    if options.rounds == ROUNDS and not options.only:
        facts = machine(LIBRARIES, before)
        keep("serving", Run("Serving beside its peers", "make bench-serving", ABOUT, facts, tuple(results)))
    else:
        print("not kept: only a run of everything with 5 rounds is")
    return 1 if options.strict and not all(result.holds for result in results) else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--only", type=lambda text: text.split(","), default=[], help="such as C,B: these alone")
    parser.add_argument("--strict", action="store_true", help="exit code 1 where a figure is not met")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
