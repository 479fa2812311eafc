"""``hyperion package model --quantize none`` on 512 MiB of weights, against ``cp -r`` followed by ``sha256sum``."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

from benchmarks.inputs import write_large
from benchmarks.measure import HYPERION, Figure, Result, median, report, seconds, spread, take_turns

COPY_AND_HASH = 'cp -r "$1" "$2" && find "$2" -type f -print0 | xargs -0 sha256sum'
COPY_SYNC_AND_HASH = 'cp -r "$1" "$2" && find "$2" -type f -print0 | xargs -0 sync && ' + COPY_AND_HASH.split("&& ")[1]


def measure(rounds: int = 5) -> Result:
    """Warm page cache; each way writes a fresh output beside the source, removed outside the measured time."""
    folder = Path(tempfile.mkdtemp(prefix="hyperion-bench-", dir=os.environ.get("BENCH_DIR")))
    try:
        return _measure(folder, rounds)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _measure(folder: Path, rounds: int) -> Result:
    source = write_large(folder / "model")
    environment = {**os.environ, "HYPERION_HOME": str(folder / "state")}

    def packaging() -> float:
        output = folder / "model.hyperion"
        output.unlink(missing_ok=True)
        words = ["package", "model", "--input", str(source), "--output", str(output), "--quantize", "none"]
        return seconds([HYPERION, *words], env=environment)

    def copying(script: str) -> float:
        copy = folder / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        return seconds(["bash", "-c", script, "bash", str(source), str(copy)])

    ways = {
        "package": packaging,
        "copy": lambda: copying(COPY_AND_HASH),
        "copy and sync": lambda: copying(COPY_SYNC_AND_HASH),
    }
    take_turns(ways, 1)
    found = take_turns(ways, rounds)
    ours, span = median(found["package"]), spread(found["package"])
    note = (
        "The whole command: interpreter, imports, reading the graph, writing with digests and CRC, fsync, and loading "
        "what was written in the engine as a proof (the reference does nothing like that)."
    )
    figures = (
        Figure(
            "package 512 MiB", "s", ours, span, "cp -r, then sha256sum", median(found["copy"]), note=note,
        ),
        Figure(
            "package 512 MiB", "s", ours, span, "cp -r, sync of the copy, then sha256sum",
            median(found["copy and sync"]), note="The reference is as durable as the package.",
        ),
    )  # fmt: skip
    return Result("package", f"Packaging, median of {rounds}", "python -m benchmarks.package_time", figures)


if __name__ == "__main__":
    sys.exit(report(measure()))
