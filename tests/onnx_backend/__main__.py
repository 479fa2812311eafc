"""`make onnx-backend`: every case inside the onnx package, plain and packaged; the count is last.

python -m tests.onnx_backend [--only TEXT] [--processes N]
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from multiprocessing import get_context

from tests.onnx_backend.cases import BackendCase, backend_cases
from tests.onnx_backend.trial import Trial, try_batch

BATCH = 40
"""Cases that one process tries in a row, in one temporary folder."""


def main() -> int:
    options = _options()
    started = time.monotonic()
    spawn = get_context("spawn")
    with ProcessPoolExecutor(options.processes, mp_context=spawn) as pool:
        trials = [trial for batch in pool.map(try_batch, _batches(options.only)) for trial in batch]
    return _tell(trials, time.monotonic() - started)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.onnx_backend", description=__doc__)
    parser.add_argument("--only", default="", metavar="TEXT", help="cases whose kind and name contain this")
    parser.add_argument("--processes", type=int, default=2, metavar="N")
    return parser.parse_args()


def _batches(only: str) -> Iterator[list[BackendCase]]:
    cases = (case for case in backend_cases() if only in str(case))
    while batch := list(islice(cases, BATCH)):
        yield batch


def _tell(trials: list[Trial], seconds: float) -> int:
    """Print what was found; the exit code."""
    for trial in trials:
        if trial.outcome == "different":
            print(f"DIFFERENT {trial.case}: {trial.reason}")
    reasons = Counter(trial.reason for trial in trials if trial.outcome == "not counted")
    for reason, count in reasons.most_common():
        print(f"  {count:5} not counted: {reason}")
    counts = Counter(trial.outcome for trial in trials)
    counted = counts["equal"] + counts["different"]
    share = f"{100 * counts['equal'] / counted:.4g} %" if counted else "nothing"
    print(
        f"onnx-backend: {len(trials)} cases, {counted} that ONNX Runtime runs with arrays; "
        f"{counts['equal']} bit-equal through a package ({share}), {counts['different']} not; {seconds:.0f} s"
    )
    return 0 if counted and not counts["different"] else 1


if __name__ == "__main__":
    raise SystemExit(main())
