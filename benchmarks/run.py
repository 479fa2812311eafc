"""Run the benchmarks of the whole service and write their section of the page (``make bench``)."""

from __future__ import annotations

import os
import sys

from benchmarks import cold_start, help_time, package_time, request_cost, swaps
from benchmarks.measure import report
from benchmarks.page import Run, keep, machine

ABOUT = "Every figure is a median. None of them is a promise, except where a limit is named."
LIBRARIES = ("onnxruntime", "onnx", "uvicorn", "numpy")


def main() -> int:
    before = os.getloadavg()[0]
    results = []
    for module in (help_time, package_time, cold_start, request_cost, swaps):
        results.append(module.measure())
        report(results[-1])
    keep("service", Run("The service", "make bench", ABOUT, machine(LIBRARIES, before), tuple(results)))
    return 0 if all(result.holds for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
