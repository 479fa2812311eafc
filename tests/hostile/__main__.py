"""`make hostile`: the whole corpus in fresh processes, every truncation, every bit of the structure; the sum is last.

python -m tests.hostile [--every N]     N: only every Nth package, length and byte, for a quick look
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from hyperion.format.block_pump import BlockPump
from tests.hostile.corpus import corpus
from tests.hostile.damage import payload_positions, refuses, resealed_headers, structural_positions
from tests.hostile.measured import Bench, Run, try_out
from tests.packages import package_bytes

MEBIBYTE = 1024 * 1024


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.hostile", description=__doc__)
    parser.add_argument("--every", type=int, default=1, metavar="N")
    every = parser.parse_args().every
    begin = time.monotonic()
    corpus_line, faults = _run_corpus(every)
    damage_line, missed = _run_damage(every)
    faults += missed
    for fault in faults:
        print(f"FAULT {fault}")
    print(f"hostile: {corpus_line}; {damage_line}; {len(faults)} faults; {time.monotonic() - begin:.0f} s in all")
    return 1 if faults else 0


def _run_corpus(every: int) -> tuple[str, list[str]]:
    """Every bad package through the commands; the sum, and what was wrong."""
    faults: list[str] = []
    codes: Counter[str] = Counter()
    slowest, busiest, largest = (0.0, ""), (0.0, ""), (0, "")
    with tempfile.TemporaryDirectory(prefix="hostile-") as folder:
        baseline = _control(Path(folder) / "control", faults)
        (Path(folder) / "bad").mkdir()
        bench = Bench(Path(folder) / "bad")
        for bad in list(corpus())[::every]:
            codes[bad.code] += 1
            runs, wrong = try_out(bad, bench, baseline)
            faults += wrong
            for command, run in runs.items():
                slowest = max(slowest, (run.duration_s, f"{command}, {bad.name}"))
                busiest = max(busiest, (run.cpu_s, f"{command}, {bad.name}"))
                largest = max(largest, (run.peak_bytes - baseline[command].peak_bytes, f"{command}, {bad.name}"))
    for code, count in sorted(codes.items()):
        print(f"  {count:4} {code}")
    line = (
        f"{codes.total()} bad packages with {len(codes)} codes refused by verify integrity and extract, "
        f"slowest {slowest[0]:.2f} s ({slowest[1]}), most processor time {busiest[0]:.2f} s ({busiest[1]}), "
        f"most memory {largest[0] / MEBIBYTE:.1f} MiB above the control ({largest[1]})"
    )
    return line, faults


def _control(folder: Path, faults: list[str]) -> dict[str, Run]:
    """The good package, which both commands must take."""
    folder.mkdir()
    bench = Bench(folder)
    bench.package.write_bytes(package_bytes())
    runs = bench.run()
    for command, run in runs.items():
        print(f"control: {command}: {run.duration_s:.2f} s, {run.cpu_s:.2f} s of processor time, "
              f"{run.peak_bytes / MEBIBYTE:.1f} MiB")  # fmt: skip
        if run.code != 0:
            faults.append(f"the control package: {command}: exit code {run.code}: {run.errors[-500:]}")
    return runs


def _run_damage(every: int) -> tuple[str, list[str]]:
    """Every truncation and every single-bit flip of a small package."""
    good = package_bytes()
    lengths = range(0, len(good), every)
    structure, payload = structural_positions(good)[::every], list(payload_positions(good))
    faults: list[str] = []
    resealed = 0
    with BlockPump() as pump:
        if refuses(good, pump):
            faults.append("the control package is refused")
        faults += [f"truncated to {length} bytes" for length in lengths if not refuses(good[:length], pump)]
        for position in (*structure, *payload):
            faults += [f"byte {position}, bit {bit}" for bit, data in _flips(good, position) if not refuses(data, pump)]
        for name, data in resealed_headers(every):
            resealed += 1
            if not refuses(data, pump):
                faults.append(f"resealed tensor header: {name}")
    line = (
        f"{len(lengths)} truncations, {8 * len(structure)} bit flips of the structure, {8 * len(payload)} of payloads "
        f"and {resealed} of a tensor header whose digest and CRC were made right again: {len(faults)} not refused"
    )
    return line, faults


def _flips(good: bytes, position: int) -> Iterator[tuple[int, bytes]]:
    data = bytearray(good)
    for bit in range(8):
        data[position] = good[position] ^ (1 << bit)
        yield bit, bytes(data)


if __name__ == "__main__":
    sys.exit(main())
