"""docs/explanation/performance.md, from the results of the `make bench` targets.

Each run keeps what it found in benchmarks/results; the page is made of all that is there, so that one run does not
remove the figures of the other.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from benchmarks.measure import ROOT, Figure, Result

PAGE = ROOT / "docs" / "explanation" / "performance.md"
RESULTS = ROOT / "benchmarks" / "results"
SECTIONS = ("format", "quantization", "service", "serving")
"""In the order of the page; each the name of a file in benchmarks/results."""
HEAD = """# Performance

Written by `make bench`, `make bench-format`, `make bench-quantization` and `make bench-serving`, each its own section.
Every figure stands beside a reference that was measured in the same run, in turns; seconds depend on the machine,
ratios much less. A load average near or over the number of cores says that other work disturbed the run: do not quote
its seconds then, and run it again on an idle machine. What is not met is printed as such.
"""


@dataclass(frozen=True)
class Run:
    """One run of one command.

    Attributes:
        title: Of its section.
        command: That makes it again.
        about: What a reader must know of all its figures.
        machine: Facts, one line each.
        results: What was measured.
    """

    title: str
    command: str
    about: str
    machine: tuple[str, ...]
    results: tuple[Result, ...]


def keep(name: str, run: Run) -> None:
    """Store a run under its section's name and write the page anew."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(asdict(run), indent=1) + "\n")
    write_page()


def write_page() -> None:
    """Write the page from all runs that are kept."""
    paths = [RESULTS / f"{name}.json" for name in SECTIONS]
    runs = [read_run(path) for path in paths if path.is_file()]
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text("\n".join([HEAD, *(section(run) for run in runs)]).rstrip() + "\n")
    print(f"wrote {PAGE.relative_to(ROOT)}")


def read_run(path: Path) -> Run:
    """A run as it was kept."""
    found = json.loads(path.read_text())
    results = tuple(
        Result(**{**result, "figures": tuple(_figure(figure) for figure in result["figures"])})
        for result in found["results"]
    )
    return Run(**{**found, "machine": tuple(found["machine"]), "results": results})


def _figure(found: dict) -> Figure:
    return Figure(**{**found, "spread": tuple(found["spread"])})


def section(run: Run) -> str:
    """One part of the page."""
    figures = [figure for result in run.results for figure in result.figures]
    lines = [f"## {run.title}: `{run.command}`", "", run.about, "", *(f"- {fact}" for fact in run.machine), ""]
    lines += _table(figures)
    missed = [figure for figure in figures if not figure.holds]
    if any(figure.bar is not None or figure.limit is not None for figure in figures):
        lines += ["", f"**Not met: {len(missed)}**" + "".join(f"\n- {figure.line()}" for figure in missed)]
    lines += ["", f"### How {run.title.lower()} was measured", ""]
    for result in run.results:
        lines += [f"**{result.what}**: `{result.command}`", ""]
        notes = [f"- {_named(figure)}: {figure.note}" for figure in result.figures if figure.note]
        lines += [*notes, ""] if notes else []
    return "\n".join(lines)


def _table(figures: Sequence[Figure]) -> list[str]:
    rows = ["| what | ours (smallest-largest) | reference | ratio | at most |", "| --- | --- | --- | --- | --- |"]
    rows += [row(figure) for figure in figures]
    if not any(figure.key for figure in figures):
        return rows
    keys = ["| ", "| --- ", *(f"| {figure.key} " for figure in figures)]
    return [key + line for key, line in zip(keys, rows, strict=True)]


def row(figure: Figure) -> str:
    """One line of the table."""
    if figure.ours is None:
        return f"| {figure.title} | not measured: {figure.unavailable} | - | - | {_limits(figure)} |"
    ours = f"{number(figure.ours)} {figure.unit}".rstrip()
    if figure.spread[0] != figure.spread[1]:
        ours += f" ({number(figure.spread[0])}-{number(figure.spread[1])})"
    ratio = "-"
    if figure.ratio is not None:
        digits = f"{figure.ratio:.2f}" if figure.ratio >= 0.1 else f"{figure.ratio:.2g}"
        ratio = f"{'< ' if figure.at_least else ''}{digits}"
    return f"| {figure.title} | {ours} | {_reference(figure)} | {ratio} | {_limits(figure)} |"


def _reference(figure: Figure) -> str:
    if figure.against is None:
        return "-"
    if figure.reference is None:
        return f"{figure.against}: unavailable: {figure.unavailable}"
    return f"{figure.against}: {'> ' if figure.at_least else ''}{number(figure.reference)} {figure.unit}".rstrip()


def _limits(figure: Figure) -> str:
    limits = [] if figure.limit is None else [f"{number(figure.limit)} {figure.unit}".rstrip()]
    if figure.bar is not None:
        limits.append(f"ratio {figure.bar:g}")
    if not limits:
        return "-"
    if figure.bar is not None and figure.ratio is None and figure.ours is not None:
        return f"{', '.join(limits)}: not judged"
    return f"{', '.join(limits)}: {'met' if figure.holds else '**not met**'}"


def _named(figure: Figure) -> str:
    return f"{figure.key}, {figure.title}" if figure.key else figure.title


def number(value: float) -> str:
    """Three digits that matter."""
    return f"{value:.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"


def machine(libraries: Sequence[str], load_before: float) -> tuple[str, ...]:
    """What a run ran on, with the versions of these libraries."""
    processor = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    host = (
        f"{datetime.now(UTC):%Y-%m-%d}; {os.cpu_count()} cores, {processor}; {memory:.0f} GiB; "
        f"Linux {platform.release()}; load average before the run {load_before:.1f}"
    )
    return (
        host,
        f"Python {platform.python_version()}, hyperion {version('hyperion-deploy')}, "
        + ", ".join(f"{name} {version(name)}" for name in libraries),
    )
