"""M1: peak memory of every structural operation, above what its process has after importing all of Hyperion."""

from __future__ import annotations

import os
from pathlib import Path

from benchmarks.format.bench import COMMAND, Bench
from benchmarks.format.children import Memory
from benchmarks.format.rounds import fresh
from benchmarks.measure import Figure, Result

LIMIT_MB = 100.0
MB = 1e6


def measure(bench: Bench) -> Result:
    """Each operation once, in a fresh process."""
    model, package, extracted = str(bench.model), str(bench.package), str(bench.extracted)
    output, target = bench.folder / "out.hyperion", bench.folder / "unpacked"
    written = {"output": str(output), "durable": True}
    os.sync()
    figures = (
        _figure(bench, "package", "package", source=model, **written),
        _figure(bench, "pack an extracted package again", "pack_again", source=extracted, **written),
        _figure(bench, "verify integrity, one thread", "verify", path=package, threads=1),
        _figure(bench, "verify integrity, two threads", "verify", path=package, threads=2),
        _figure(bench, "verify integrity --quick", "verify_quickly", path=package),
        _figure(bench, "extract", "extract", source=package, output=str(target), durable=True),
        _figure(bench, "version update", "update", path=package, repeat=1),
        _figure(bench, "sign", "sign_in_place", path=package, repeat=1),
    )
    fresh(output, target)
    what = "Memory above imports: largest RssAnon of samples that another process takes every millisecond"
    return Result("memory", what, f"{COMMAND} --only M", figures)


def _figure(bench: Bench, title: str, call: str, **arguments: object) -> Figure:
    if "output" in arguments:
        fresh(Path(str(arguments["output"])))
    with bench.start() as child:
        found = child.memory(call, **arguments)
    return Figure(
        f"anonymous memory of {title}, {bench.size}", "MB", found.anonymous / MB, (found.anonymous / MB,) * 2,
        limit=LIMIT_MB, key="M1", note=_note(found),
    )  # fmt: skip


def _note(found: Memory) -> str:
    return f"With mapped pages of files, as the kernel's own peak VmHWM counts: {found.resident / MB:.0f} MB."
