"""Hostile models in batches, each batch in one process: what came of them, and whether anything is at fault."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hyperion.domain.digest import digest_of
from hyperion.domain.manifest import ARCHITECTURE, MANIFEST, Manifest
from hyperion.format.manifest_json import manifest_bytes
from tests.hostile.models_craft import HostileModel

CODES = (0, 1, 3, 4, 9)
"""It is taken; or the answer is no, the file is bad, the engine or the host refuses."""
LONGEST_S = 60.0
"""The child's 8 s of patience and of processor time, several times on a machine that does other things."""
LARGEST_BYTES = 9 * 1024**3
BATCH = 20


@dataclass
class Sum:
    """What came of many models."""

    outcomes: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    slowest: tuple[float, str] = (0.0, "")
    peak_bytes: int = 0
    own_peak_bytes: int = 0

    @property
    def models(self) -> int:
        return self.outcomes.total()


@dataclass(frozen=True)
class Case:
    """A folder to package, or with ``package`` one to verify."""

    name: str
    folder: Path
    package: bool
    code: str | None = None


def sources(models: Iterable[HostileModel], root: Path) -> list[Case]:
    """Write models into folders of their own."""
    cases = []
    for index, model in enumerate(models):
        folder = root / f"source{index}"
        folder.mkdir()
        model.write(folder)
        cases.append(Case(model.name, folder, package=False, code=model.code))
    return cases


def packages(architectures: Iterable[tuple[str, bytes]], good: Path, root: Path) -> list[Case]:
    """Copies of an extracted package with other architectures, their digests made right."""
    cases = []
    for index, (name, raw) in enumerate(architectures):
        folder = root / f"package{index}"
        for path in good.rglob("*"):
            copy = folder / path.relative_to(good)
            copy.parent.mkdir(parents=True, exist_ok=True)
            if path.is_file():
                copy.write_bytes(path.read_bytes())
        (folder / ARCHITECTURE).write_bytes(raw)
        manifest = Manifest.model_validate_json((folder / MANIFEST).read_bytes())
        entry = manifest.entries[ARCHITECTURE].model_copy(update={"digest": digest_of(raw), "size_bytes": len(raw)})
        forged = manifest.model_copy(update={"entries": manifest.entries | {ARCHITECTURE: entry}})
        (folder / MANIFEST).write_bytes(manifest_bytes(forged))
        cases.append(Case(name, folder, package=True))
    return cases


def try_all(cases: Sequence[Case], room: Path) -> Sum:
    """Try them, a batch in a process; a process that dies is a fault of the model that it was at."""
    found = Sum()
    for begin in range(0, len(cases), BATCH):
        _try_batch(cases[begin : begin + BATCH], room, found)
    return found


def _try_batch(cases: Sequence[Case], room: Path, found: Sum) -> None:
    plan, results = room / "plan.json", room / "results.jsonl"
    plan.write_text(json.dumps([{"name": c.name, "folder": str(c.folder), "package": c.package} for c in cases]))
    results.write_text("")
    process = subprocess.run(
        [sys.executable, "-m", "tests.hostile.models_child", str(plan), str(results)], stdin=subprocess.DEVNULL,
        env={**os.environ, "HYPERION_HOME": str(room / "home")}, capture_output=True, text=True,
        timeout=3600, check=False,
    )  # fmt: skip
    lines = [json.loads(line) for line in results.read_text(encoding="utf-8").splitlines()]
    for case, line in zip(cases, lines, strict=False):
        _judge(case, line, found)
    if len(lines) < len(cases):
        fault = f"{cases[len(lines)].name}: the caller died with {process.returncode}: {process.stderr[-300:]}"
        found.faults.append(fault)
        found.outcomes["the caller died"] += 1
        if cases[len(lines) + 1 :]:
            _try_batch(cases[len(lines) + 1 :], room, found)


def _judge(case: Case, line: dict[str, Any], found: Sum) -> None:
    first = line["runs"][0]
    found.outcomes[first["error"] or ("taken" if first["code"] == 0 else "answered no")] += 1
    found.peak_bytes = max(found.peak_bytes, line["peaks"]["child"])
    found.own_peak_bytes = max(found.own_peak_bytes, line["peaks"]["own"])
    if case.code is not None and first["error"] != case.code:
        found.faults.append(f"{case.name}: refused with {first['error']} instead of {case.code}: {first['message']}")
    if line["left"]:
        found.faults.append(f"{case.name}: left {line['left']} behind")
    if found.peak_bytes > LARGEST_BYTES:
        found.faults.append(f"{case.name}: a child took {found.peak_bytes} bytes")
    for run in line["runs"]:
        found.slowest = max(found.slowest, (run["duration_s"], f"{run['command']}, {case.name}"))
        if run["code"] not in CODES or "Traceback" in run["errors"]:
            found.faults.append(
                f"{case.name}: {run['command']} ended with {run['code']} {run['message']} {run['errors'][-400:]}"
            )
        elif run["command"].startswith("package") and run["code"] != 0 and not run["error"]:
            found.faults.append(f"{case.name}: an error without a code")
        if run["duration_s"] > LONGEST_S:
            found.faults.append(f"{case.name}: {run['command']} took {run['duration_s']:.0f} s")
