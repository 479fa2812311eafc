"""`make fuzz`: every target for FUZZ_SECONDS (60) each; what breaks one is kept in .cache/fuzz, and the sum is last.

python -m tests.fuzz [TARGET ...]
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

from tests.fuzz.seeds import LARGEST_BYTES, seeds
from tests.fuzz.targets import TARGETS

FOLDER = Path(".cache/fuzz")
TIMEOUT_S = 10
"""For one input: longer is a hang."""
MEMORY_MB = 768
"""For the whole process, of which instrumentation takes about 150."""


def main() -> int:
    chosen = sys.argv[1:] or list(TARGETS)
    seconds = int(os.environ.get("FUZZ_SECONDS", "60"))
    told, broken = [], []
    for target in chosen:
        line, crashed = _hunt(target, seconds)
        print(f"  {line}", flush=True)
        told.append(line)
        broken += crashed
    for path in broken:
        print(f"BROKEN BY {path}: repair it, then keep the input in tests/fuzz/found/{path.name.partition('-')[0]}/")
    runs = sum(int(line.split()[1].replace(",", "")) for line in told)
    print(f"fuzz: {runs:,} inputs to {len(chosen)} targets in {seconds} s each; {len(broken)} broke one")
    return 1 if broken or len(told) < len(chosen) else 0


def _hunt(target: str, seconds: int) -> tuple[str, list[Path]]:
    """Fuzz one target; a line about it, and the inputs that broke it."""
    corpus = FOLDER / "corpus" / target
    corpus.mkdir(parents=True, exist_ok=True)
    for data in seeds(target):
        (corpus / hashlib.sha256(data).hexdigest()).write_bytes(data)
    before = set(FOLDER.glob(f"{target}-*"))
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.hunt", target, f"-max_total_time={seconds}", f"-timeout={TIMEOUT_S}",
         f"-rss_limit_mb={MEMORY_MB}", f"-max_len={LARGEST_BYTES}", f"-artifact_prefix={FOLDER}/{target}-",
         "-print_final_stats=1", str(corpus)],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=seconds + 300, check=False,
    )  # fmt: skip
    (FOLDER / f"{target}.log").write_text(done.stdout + done.stderr, encoding="utf-8")
    log = done.stdout + done.stderr
    runs = int((re.findall(r"stat::number_of_executed_units: (\d+)", log) or ["0"])[-1])
    coverage = (re.findall(r"cov: (\d+)", log) or ["?"])[-1]
    slowest = (re.findall(r"stat::slowest_unit_time_sec: +(\d+)", log) or ["?"])[-1]
    memory = (re.findall(r"stat::peak_rss_mb: +(\d+)", log) or ["?"])[-1]
    broken = sorted(set(FOLDER.glob(f"{target}-*")) - before)
    line = f"{target:14} {runs:,} inputs, {coverage} points covered, slowest {slowest} s, at most {memory} MB"
    if done.returncode != 0:
        line += f", ENDED WITH {done.returncode}: see {FOLDER}/{target}.log"
        broken = broken or [FOLDER / f"{target}.log"]
    return line, broken


if __name__ == "__main__":
    sys.exit(main())
