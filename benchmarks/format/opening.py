"""O1-O2: opening a package, listing it and viewing its first tensor, against the standard library's zipfile."""

from __future__ import annotations

from pathlib import Path

from benchmarks.format.bench import COMMAND, Bench
from benchmarks.format.models import write_asset_model
from benchmarks.format.rounds import Timing, figure, measured
from benchmarks.measure import Figure, Result, median, spread

MANY = 10_000
LIMIT_MS = 2.0
GROWTH_LIMIT_MB = 5.0
MB = 1e6


def measure(bench: Bench) -> Result:
    many = bench.packaged(write_asset_model(bench.folder / "many-model", MANY, 64))
    large, large_zip = _open(bench, bench.package, 20)
    growth = [_growth(bench, bench.package) for _ in range(5)]
    crowd, crowd_zip = _open(bench, many, 1)
    low, high = large.spread
    title = f"open {bench.size}, list, view the first tensor"
    strict = "Strict: every header byte compared, the manifest validated. Each value is the median of 20 calls."
    figures = (
        Figure(title, "ms", 1000 * large.seconds, (1000 * low, 1000 * high), limit=LIMIT_MS, key="O1",
               note=f"{large.how.capitalize()}. {strict}"),
        figure("O1", title, large, "zipfile.ZipFile()", large_zip, bar=2, unit="ms",
               note="zipfile reads no manifest and compares no local header."),
        Figure(f"growth of the process when it opens {bench.size} first", "MB", median(growth), spread(growth),
               limit=GROWTH_LIMIT_MB, key="O1", note="Resident memory, of a process that has only imported."),
        figure("O2", f"open a package of {MANY} entries, list, view the first tensor", crowd, "zipfile.ZipFile()",
               crowd_zip, bar=2, unit="ms", note="Ours reads every local header and as many manifest lines."),
    )  # fmt: skip
    return Result("open", "Opening", f"{COMMAND} --only O", figures)


def _open(bench: Bench, package: Path, repeat: int) -> tuple[Timing, Timing]:
    """Ours and zipfile, seconds of one call."""

    def way(name: str) -> float:
        return float(bench.child.call(name, path=str(package), repeat=repeat).value)

    found = measured({"ours": lambda: way("open_and_list"), "zipfile": lambda: way("open_zipfile")})
    return found["ours"], found["zipfile"]


def _growth(bench: Bench, package: Path) -> float:
    with bench.start() as child:
        return float(child.call("opening_growth", path=str(package)).value) / MB
