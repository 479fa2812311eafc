"""V1-V3: verifying integrity against the hashing tools and against a plain read; the page cache is warm."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from benchmarks.format.bench import COMMAND, Bench
from benchmarks.format.models import MIB, write_asset_model
from benchmarks.format.packaging import shell
from benchmarks.format.rounds import figure, measured
from benchmarks.measure import Result

OPENSSL = 'openssl dgst -sha256 "$1"'
SIDE_BY_SIDE = 'find "$1" -type f -print0 | xargs -0 -n 1 -P 2 sha256sum'
OPENSSL_SIDE_BY_SIDE = 'find "$1" -type f -print0 | xargs -0 -n 1 -P 2 openssl dgst -sha256'


def measure(bench: Bench) -> Result:
    package, extracted = bench.package, bench.extracted
    single = bench.packaged(write_asset_model(bench.folder / "single-model", 1, bench.size_mb * MIB))

    def ours(path: Path, threads: int) -> Callable[[], float]:
        return lambda: bench.child.seconds("verify", path=str(path), threads=threads)

    ways = {
        "one": ours(package, 1),
        "two": ours(package, 2),
        "single": ours(single, 2),
        "quick": lambda: bench.child.seconds("verify_quickly", path=str(package)),
        "read": lambda: bench.child.seconds("read_through", path=str(package)),
        "openssl": lambda: shell(OPENSSL, package),
        "sha256sum": lambda: shell(SIDE_BY_SIDE, extracted),
        "openssl side by side": lambda: shell(OPENSSL_SIDE_BY_SIDE, extracted),
    }
    found = measured(ways)
    title = f"verify integrity of {bench.size}"
    figures = (
        figure("V1", f"{title}, one thread", found["one"], "openssl dgst -sha256 of the same file",
               found["openssl"], bar=1.1, note="Digests, CRCs and contents."),
        figure("V2", f"{title}, two threads", found["two"], "xargs -P2 sha256sum of the same files",
               found["sha256sum"], bar=1.05, note="Each entry by its own digest."),
        figure("V2", f"{title}, two threads", found["two"], "xargs -P2 openssl dgst -sha256 of the same files",
               found["openssl side by side"], note="No bar; sha256sum may lack the processor's instructions."),
        figure("V2", f"{title} in one single entry, two threads", found["single"],
               "xargs -P2 sha256sum of as many bytes in 32 files", found["sha256sum"], bar=1.05,
               note="By its 4 MiB chunks."),
        figure("V3", f"{title}, --quick", found["quick"], "preadv of the whole file", found["read"], bar=3,
               note="Structure, sizes and CRCs."),
    )  # fmt: skip
    return Result("verify", "Verifying integrity", f"{COMMAND} --only V", figures)
