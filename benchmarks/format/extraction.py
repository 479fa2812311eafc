"""X1-X2: extracting with every digest checked, against tar and unzip."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from benchmarks.format.bench import COMMAND, Bench
from benchmarks.format.packaging import HASH, ZIP, shell
from benchmarks.format.rounds import figure, fresh, measured
from benchmarks.measure import Figure, Result

TAR = 'tar cf "$2" -C "$1" .'
UNTAR = 'mkdir "$2"; tar xf "$1" -C "$2"'
UNZIP = 'unzip -q "$1" -d "$2"'


def measure(bench: Bench) -> Result:
    """The same files in each archive; nobody syncs."""
    target = bench.folder / "unpacked"
    tar, archive = bench.folder / "model.tar", bench.folder / "model.zip"
    package = bench.package
    shell(TAR, bench.extracted, tar)
    shell(ZIP, bench.extracted, archive)

    def ours() -> float:
        fresh(target)
        return bench.child.seconds("extract", source=str(package), output=str(target), durable=False)

    def reference(script: str, source: Path) -> Callable[[], float]:
        def way() -> float:
            fresh(target)
            return shell(script, source, target)

        return way

    ways = {"ours": ours, "tar": reference(f"{UNTAR}; {HASH}", tar)}
    if shutil.which("unzip"):
        ways["unzip"] = reference(UNZIP, archive)
    found = measured(ways)
    fresh(target, tar, archive)
    title = f"extract {bench.size} and verify, no fsync"
    figures = [figure("X1", title, found["ours"], "tar xf, then sha256sum", found["tar"], bar=0.85)]
    if "unzip" in found:
        figures.append(figure("X2", title, found["ours"], "unzip", found["unzip"], bar=0.4))
    else:
        ours_alone = found["ours"]
        figures.append(
            Figure(
                title, "s", ours_alone.seconds, ours_alone.spread, "unzip",
                key="X2", bar=0.4, unavailable="it is not installed",
            )
        )  # fmt: skip
    return Result("extract", "Extracting", f"{COMMAND} --only X", tuple(figures))
