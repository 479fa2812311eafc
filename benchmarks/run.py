"""Run every benchmark and write docs/explanation/performance.md (``make bench``)."""

from __future__ import annotations

import os
import platform
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from benchmarks import cold_start, help_time, package_time, request_cost, swaps
from benchmarks.measure import ROOT, Figure, Result, report

PAGE = ROOT / "docs" / "explanation" / "performance.md"
HEAD = """# Performance

Written by `make bench`. Every figure is a median and stands beside a reference that was measured in the same run, in
turns; seconds depend on the machine, ratios much less. None of them is a promise: targets come with later work, except
where a limit is named. A load average near or over the number of cores says that other work disturbed the run: do
not quote its seconds then, and run it again on an idle machine.
"""


def main() -> int:
    before = os.getloadavg()[0]
    results = []
    for module in (help_time, package_time, cold_start, request_cost, swaps):
        results.append(module.measure())
        report(results[-1])
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(page(results, before))
    print(f"wrote {PAGE.relative_to(ROOT)}")
    return 0 if all(result.holds for result in results) else 1


def page(results: list[Result], before: float) -> str:
    """The document, from the results and the load that the machine had before."""
    lines = [HEAD, "## The machine", "", *machine(before), "", "## Results", ""]
    lines += ["| what | ours (smallest-largest) | reference | ratio | limit |", "| --- | --- | --- | --- | --- |"]
    lines += [row(figure) for result in results for figure in result.figures]
    lines += ["", "## How each was measured", ""]
    for result in results:
        lines += [f"**{result.what}**: `{result.command}`", ""]
        notes = [f"- {figure.title}: {figure.note}" for figure in result.figures if figure.note]
        lines += [*notes, ""] if notes else []
    return "\n".join(lines).rstrip() + "\n"


def row(figure: Figure) -> str:
    """One line of the table."""
    ours = f"{number(figure.ours)} {figure.unit}"
    if figure.spread[0] != figure.spread[1]:
        ours += f" ({number(figure.spread[0])}-{number(figure.spread[1])})"
    reference = "-" if figure.reference is None else f"{figure.against}: {number(figure.reference)} {figure.unit}"
    ratio = "-" if figure.ratio is None else f"{figure.ratio:.2f}"
    limit = (
        "-" if figure.limit is None else f"{number(figure.limit)} {figure.unit}: {'kept' if figure.holds else 'BROKEN'}"
    )
    return f"| {figure.title} | {ours} | {reference} | {ratio} | {limit} |"


def number(value: float) -> str:
    """Three digits that matter."""
    return f"{value:.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"


def machine(before: float) -> list[str]:
    """What it ran on."""
    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    libraries = ", ".join(f"{name} {version(name)}" for name in ("onnxruntime", "onnx", "uvicorn", "numpy"))
    cores = f"{os.cpu_count()} cores, {model}; {memory:.0f} GiB; Linux {platform.release()}"
    return [
        f"- {datetime.now(UTC):%Y-%m-%d}; {cores}; load average before the run {before:.1f}",
        f"- Python {platform.python_version()}, hyperion {version('hyperion-deploy')}, {libraries}",
    ]


if __name__ == "__main__":
    sys.exit(main())
