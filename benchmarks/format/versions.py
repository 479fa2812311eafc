"""U1-U2: raising a version in place against three synced writes, and comparing versions by their manifests."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from benchmarks.format.bench import COMMAND, Bench
from benchmarks.format.models import MIB, layer_count, write_model
from benchmarks.format.rounds import figure, measured
from benchmarks.measure import Figure, Result

SMALL_MB = 20
TIMES = 3
LIMIT_MS = 50.0


def measure(bench: Bench) -> Result:
    layers = layer_count(bench.size_mb)
    small = bench.packaged(write_model(bench.folder / "little-model", layers, SMALL_MB * MIB // layers, seed=2))
    large = bench.package
    os.sync()  # the first fsync of a file pays for all of its pages that are still dirty

    def ours(package: Path) -> Callable[[], float]:
        return lambda: float(bench.child.call("update", path=str(package), repeat=1).value)

    def pair(name: str) -> Callable[[], float]:
        return lambda: float(bench.child.call(name, first=str(large), second=str(small), repeat=1).value)

    updates = measured(
        {
            "large": ours(large),
            "small": ours(small),
            "writes": lambda: float(bench.child.call("three_writes", folder=str(bench.folder), repeat=1).value),
        },
        TIMES,
    )
    compared = measured({"ours": pair("compare"), "manifests": pair("read_manifests")}, TIMES)
    read = int(bench.child.call("bytes_read_comparing", first=str(large), second=str(small)).value)
    low, high = compared["ours"].spread
    figures = (
        figure("U1", f"version update of {bench.size}, in place", updates["large"],
               "3 x (4 KiB write + fsync) in the same folder", updates["writes"], bar=2, unit="ms",
               note="Opened, validated, written ahead, written, truncated, each step synced."),
        figure("U1", f"version update of {bench.size}", updates["large"], f"version update of {SMALL_MB} MiB",
               updates["small"], bar=1.3, unit="ms", note="As many layers."),
        Figure("version compare --quick of two packages", "ms", 1000 * compared["ours"].seconds,
               (1000 * low, 1000 * high), "reading both manifests", 1000 * compared["manifests"].seconds, LIMIT_MS,
               key="U2", note=f"{compared['ours'].how.capitalize()}."),
        Figure("bytes that this comparison reads", "kB", read / 1000, (read / 1000, read / 1000),
               limit=float(bench.size_mb), key="U2",
               note="By system calls, as the kernel counts them: directories, headers and manifests, no payload."),
    )  # fmt: skip
    return Result("versions", "Versions", f"{COMMAND} --only U", figures)
