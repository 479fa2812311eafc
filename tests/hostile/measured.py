"""The corpus through the commands, each package in a fresh process whose time and memory are measured."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.hostile.corpus import BadPackage
from tests.hostile.doors import tree

TIME_LIMIT_S = 2.0
"""On a machine that does nothing else. Processor time is no longer there, so where that is below the limit, the other
work of a busy machine took the rest; then only a hang is a fault."""
HANG_S = 20.0
MEMORY_LIMIT_BYTES = 200 * 1024 * 1024
"""Above what the same command takes on the control package."""

VERIFY, EXTRACT = "verify integrity", "extract model"
EXIT_CODES = {VERIFY: 1, EXTRACT: 3}
_ATTEMPTS = 3
"""Other work on the machine makes a process slower, never quicker: the quickest of these counts."""


@dataclass(frozen=True)
class Run:
    """One finished command.

    Attributes:
        code: Exit code; None where its process died.
        answer: What it printed with ``--json``.
        errors: What it said on stderr.
        duration_s: The first of a process is timed from before its start.
        cpu_s: Processor time, all threads together; of the first command with the start of its process.
        peak_bytes: The most memory that its process had so far.
    """

    code: int | None
    answer: Any
    errors: str
    duration_s: float
    cpu_s: float
    peak_bytes: int


class Bench:
    """A folder with the package under test in it, and nothing that may change while it is read.

    Args:
        folder: Empty.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._box = folder / "box"
        self._box.mkdir()
        self.package = self._box / "under_test.hyperion"
        self.output = self._box / "out"

    def run(self) -> dict[str, Run]:
        """Verify, then extract the package, in one fresh process."""
        commands = [
            [*VERIFY.split(), str(self.package), "--json"],
            [*EXTRACT.split(), "--input", str(self.package), "--output", str(self.output), "--json"],
        ]
        file = self._folder / "done.json"
        file.unlink(missing_ok=True)
        begun_at = time.monotonic()
        process = subprocess.run(
            [sys.executable, "-m", "tests.hostile.child", str(file), str(begun_at), json.dumps(commands)],
            env={**os.environ, "HYPERION_HOME": str(self._folder / "home")},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        if not file.exists():
            died = Run(None, None, process.stderr, time.monotonic() - begun_at, 0.0, 0)
            return dict.fromkeys(EXIT_CODES, died)
        done = json.loads(file.read_text(encoding="utf-8"))
        return {
            command: Run(**{**one, "answer": json.loads(one["answer"])})
            for command, one in zip(EXIT_CODES, done, strict=True)
        }

    def box(self) -> dict[str, tuple[int, int, int]]:
        """Everything in the folder around the package."""
        return tree(self._box)


def try_out(bad: BadPackage, bench: Bench, baseline: dict[str, Run]) -> tuple[dict[str, Run], list[str]]:
    """Run both commands on a bad package.

    Args:
        bad: What to run on.
        bench: Where.
        baseline: The same commands on the control package.

    Returns:
        The runs, and what is wrong with them.
    """
    bench.package.write_bytes(bad.make())
    before = bench.box()
    attempts = [bench.run()]
    while _slowest(attempts[-1]) >= TIME_LIMIT_S and len(attempts) < _ATTEMPTS:
        attempts.append(bench.run())
    runs = min(attempts, key=_slowest)
    faults = []
    for command, run in runs.items():
        faults += [f"{bad.name}: {command}: {fault}" for fault in _faults(bad, command, run, baseline[command])]
    if bench.box() != before:
        faults.append(f"{bad.name}: left something behind")
    return runs, faults


def _slowest(runs: dict[str, Run]) -> float:
    return max(run.duration_s for run in runs.values())


def _faults(bad: BadPackage, command: str, run: Run, base: Run) -> list[str]:
    faults = []
    if run.code != EXIT_CODES[command]:
        faults.append(f"exit code {run.code} instead of {EXIT_CODES[command]}: {run.errors[-500:]}")
    if "Traceback" in run.errors:
        faults.append("a traceback")
    if _refusal(command, run) != (bad.code, bad.entry):
        faults.append(f"refused as {_refusal(command, run)} instead of {(bad.code, bad.entry)}")
    if run.duration_s >= HANG_S or min(run.duration_s, run.cpu_s) >= TIME_LIMIT_S:
        faults.append(f"took {run.duration_s:.2f} s, {run.cpu_s:.2f} s of processor time")
    if run.peak_bytes - base.peak_bytes >= MEMORY_LIMIT_BYTES:
        faults.append(f"took {run.peak_bytes - base.peak_bytes} bytes more than the control package")
    return faults


def _refusal(command: str, run: Run) -> tuple[str | None, str | None]:
    """Code and entry of the error, or of the first finding that failed."""
    if not isinstance(run.answer, dict):
        return None, None
    if command == EXTRACT:
        error = run.answer.get("error", {})
        return error.get("code"), error.get("entry")
    failed = [finding for finding in run.answer.get("findings", ()) if finding["outcome"] == "failed"]
    return (failed[0].get("code"), failed[0].get("entry")) if failed else (None, None)
