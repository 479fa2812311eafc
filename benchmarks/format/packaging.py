"""P1-P3: packaging against copying and hashing, against durable copying, and against zip."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks.format.bench import COMMAND, Bench
from benchmarks.format.rounds import figure, fresh, measured
from benchmarks.measure import Result, seconds

HASH = 'find "$2" -type f -print0 | xargs -0 sha256sum'
COPY = 'cp -r "$1" "$2"'
OPENSSL = 'find "$2" -type f -print0 | xargs -0 openssl dgst -sha256'
SYNC = 'find "$2" -type f -print0 | xargs -0 sync'
ZIP = 'cd "$1" && zip -0 -q -r "$2" .'


def shell(script: str, *arguments: Path) -> float:
    """Seconds of a bash script with ``$1``, ``$2``, ..."""
    return seconds(["bash", "-c", f"set -e -o pipefail; {script}", "bash", *map(str, arguments)])


def measure(bench: Bench) -> Result:
    model, extracted = bench.model, bench.extracted
    output, copy = bench.folder / "out.hyperion", bench.folder / "copy"

    def ours(call: str, source: Path, *, durable: bool) -> Callable[[], float]:
        def way() -> float:
            fresh(output)
            return bench.child.seconds(call, source=str(source), output=str(output), durable=durable)

        return way

    def reference(script: str, target: Path = copy) -> Callable[[], float]:
        def way() -> float:
            fresh(target)
            return shell(script, model, target)

        return way

    archive = bench.folder / "out.zip"
    ways: Mapping[str, Callable[[], float]] = {
        "ours": ours("package", model, durable=False),
        "ours again": ours("pack_again", extracted, durable=False),
        "ours durable": ours("package", model, durable=True),
        "copy": reference(COPY),
        "copy, hash": reference(f"{COPY}; {HASH}"),
        "copy, openssl": reference(f"{COPY}; {OPENSSL}"),
        "copy, sync": reference(f"{COPY}; {SYNC}"),
        "zip": reference(ZIP, archive),
    }
    found = measured(ways)
    fresh(output, copy, archive)
    size = bench.size
    note = "Reading the graph, writing with digests and CRC, and loading what was written in the engine as a proof."
    figures = (
        figure("P1", f"package {size}, no fsync", found["ours"], "cp -r, then sha256sum", found["copy, hash"],
               bar=0.85, note=f"{note} The references do nothing like the last."),
        figure("P1", f"package {size}, no fsync", found["ours"], "cp -r, then openssl dgst -sha256",
               found["copy, openssl"], note="No bar; sha256sum may lack the processor's instructions."),
        figure("P1", f"package {size}, no fsync", found["ours"], "cp -r alone", found["copy"],
               note="Ours digests every byte twice, for its entry and for its chunk."),
        figure("P1", f"pack an extracted package of {size} again, no fsync", found["ours again"],
               "cp -r, then sha256sum, of as many bytes", found["copy, hash"], bar=0.85,
               note="The format's writer alone: digests, CRC and writing; no graph, no engine."),
        figure("P2", f"package {size}, durable", found["ours durable"], "cp -r, then sync of the copy",
               found["copy, sync"], bar=1.8, note="fsync on both sides; only ours computes digests."),
        figure("P3", f"package {size}, no fsync", found["ours"], "zip -0 -r", found["zip"], bar=0.5),
    )  # fmt: skip
    return Result("package", "Packaging with `--quantize none`", f"{COMMAND} --only P1,P2,P3", figures)
