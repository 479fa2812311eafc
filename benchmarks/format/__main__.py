"""Measure the package format and write its section of the page (``make bench-format``).

python -m benchmarks.format [--size-mb 2048] [--only P1,V] [--strict]

A run at full size of everything is kept and printed on the page; any other is only shown.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

from benchmarks.format import against_peers, extraction, memory, opening, packaging, signing, verifying, versions
from benchmarks.format.bench import Bench
from benchmarks.measure import Result, report
from benchmarks.page import Run, keep, machine

FULL_MB = 2048
MODULES: tuple[tuple[tuple[str, ...], Callable[[Bench], Result]], ...] = (
    (("P1", "P2", "P3"), packaging.measure),
    (("P4",), against_peers.measure),
    (("X1", "X2"), extraction.measure),
    (("V1", "V2", "V3"), verifying.measure),
    (("O1", "O2"), opening.measure),
    (("U1", "U2"), versions.measure),
    (("S1",), signing.measure),
    (("M1",), memory.measure),
)
"""What each measures, in the order of the page; figures of one module are measured together, in turns."""
LIBRARIES = ("onnxruntime", "onnx", "numpy", "isal", "cryptography")
TOOLS = (
    ("cp", ["cp", "--version"]), ("tar", ["tar", "--version"]), ("zip", ["zip", "-v"]), ("unzip", ["unzip", "-v"]),
    ("openssl", ["openssl", "version"]),
)  # fmt: skip
ABOUT = (
    "A float32 model in layers of 64 MiB with `--quantize none`, page cache warm, written to the disk of `BENCH_DIR`. "
    "Ours is measured inside a process that has imported what it needs, peers likewise; the interpreter's start is not "
    "counted. Where a figure says *no fsync*, no side syncs: `os.fsync` does nothing in our process then. Each value "
    "is the median of 5 rounds after one that is thrown away; where one of them varies by more than 30 %, all of its "
    "group count by the minimum of 7. What takes milliseconds is run three times as often. P1 to M1 are the figures to "
    "reach; rows without a bar are there to judge those beside them."
)


def main() -> int:
    options = _options()
    before, started = os.getloadavg()[0], time.perf_counter()
    results = []
    bench = Bench(options.size_mb)
    try:
        for keys, measure in MODULES:
            if _wanted(keys, options.only):
                results.append(measure(bench))
                report(results[-1])
    finally:
        bench.close()
    seconds = time.perf_counter() - started
    print(f"measured for {seconds / 60:.1f} minutes; load average {before:.1f} before, {os.getloadavg()[0]:.1f} after")
    if options.size_mb == FULL_MB and not options.only:
        facts = (*machine(LIBRARIES, before), _tools(), f"measured for {seconds / 60:.0f} minutes")
        keep("format", Run("The package format", "make bench-format", ABOUT, facts, tuple(results)))
    else:
        print(f"not kept: only a run of everything at {FULL_MB} MiB is")
    return 1 if options.strict and not all(result.holds for result in results) else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.format")
    size = int(os.environ.get("BENCH_SIZE_MB", FULL_MB))
    parser.add_argument("--size-mb", type=int, default=size, help="of the model, in MiB; BENCH_SIZE_MB, else 2048")
    parser.add_argument("--only", type=lambda text: text.split(","), default=[], help="such as P1,V: these alone")
    parser.add_argument("--strict", action="store_true", help="exit code 1 where a figure is not met")
    return parser.parse_args()


def _wanted(keys: Sequence[str], only: Sequence[str]) -> bool:
    return not only or any(key.startswith(wanted) for key in keys for wanted in only)


def _tools() -> str:
    """The references' versions."""
    found = []
    for name, command in TOOLS:
        try:
            lines = subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()
        except OSError:
            found.append(f"{name} not installed")
        else:
            line = lines[1] if name == "zip" and len(lines) > 1 else lines[0]
            found.append(line.split(", by")[0].strip())
    return "; ".join(found)


if __name__ == "__main__":
    sys.exit(main())
