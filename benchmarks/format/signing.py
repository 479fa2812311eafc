"""S1: signing a package and checking its signing; the digests are those of its manifest, so no payload is read."""

from __future__ import annotations

import os

from benchmarks.format.bench import COMMAND, Bench
from benchmarks.format.rounds import figure, measured
from benchmarks.measure import Figure, Result

TIMES = 3
LIMIT_MS = 10.0


def measure(bench: Bench) -> Result:
    package = str(bench.package)
    os.sync()

    def way(name: str, **arguments: object) -> float:
        return float(bench.child.call(name, repeat=1, **arguments).value)

    found = measured(
        {
            "ours": lambda: way("sign_and_check", path=package),
            "bare": lambda: way("bare_p256"),
            "file": lambda: way("sign_in_place", path=package),
            "writes": lambda: way("three_writes", folder=str(bench.folder)),
        },
        TIMES,
    )
    ours = found["ours"]
    figures = (
        Figure(f"sign {bench.size} and check the signing", "ms", 1000 * ours.seconds,
               (1000 * ours.spread[0], 1000 * ours.spread[1]), "P-256 sign and verify", 1000 * found["bare"].seconds,
               LIMIT_MS, key="S1",
               note=f"The bundle made, parsed and compared with the manifest. {ours.how.capitalize()}."),
        figure("S1", f"hyperion sign of {bench.size}, in place and durable", found["file"],
               "3 x (4 KiB write + fsync) in the same folder", found["writes"], unit="ms"),
    )  # fmt: skip
    return Result("sign", "Signing", f"{COMMAND} --only S", figures)
