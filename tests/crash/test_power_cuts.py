"""A sample of the simulated power cuts (all of them: make crash), and that the simulation could find a fault."""

from __future__ import annotations

import random
import re
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from tests.crash.disk import Disk, power_cuts
from tests.crash.recorder import Operation
from tests.crash.scenario import LostError, Scenario
from tests.crash.scenarios import all_scenarios
from tests.crash.traced import CALLS, issued

SCENARIOS = all_scenarios()
ROOT = Path(__file__).parents[2]
IMAGES = 4
"""For each share of a scenario; 19 scenarios with 83 shares."""


def named(name: str) -> Scenario:
    return next(scenario for scenario, _ in SCENARIOS if scenario.name == name)


@pytest.mark.parametrize(("scenario", "share"), SCENARIOS, ids=lambda value: getattr(value, "name", ""))
def test_after_a_power_cut_there_is_the_old_or_the_new(scenario: Scenario, share: int, tmp_path: Path) -> None:
    found = Counter(scenario.states(tmp_path, random.Random(7), IMAGES * share))

    assert found.total() >= IMAGES * share
    assert len(found) > 1


@pytest.mark.parametrize(
    ("name", "forgotten"),
    [("pack", 0), ("pack over an old package", 0), ("extract", 2), ("update with a longer manifest", 0),
     ("update of a hard link", 0), ("directory: update", 0)],
)  # fmt: skip
def test_a_forgotten_fsync_would_be_found(name: str, forgotten: int, tmp_path: Path) -> None:
    scenario = named(name)
    disk, operations = scenario.record(tmp_path / "recorded")
    syncs = [index for index, operation in enumerate(operations) if operation.kind == "sync"]
    del operations[syncs[forgotten]]

    with pytest.raises(LostError):
        judge_all(scenario, disk, operations, tmp_path)


def test_a_canon_written_before_its_copy_would_be_found(tmp_path: Path) -> None:
    scenario = named("update with a longer manifest")
    disk, operations = scenario.record(tmp_path / "recorded")
    ahead, synced, canon, *rest = operations

    with pytest.raises(LostError):
        judge_all(scenario, disk, [canon, synced, ahead, *rest], tmp_path)


def test_a_write_to_another_place_would_be_found(tmp_path: Path) -> None:
    scenario = named("update with a longer manifest")
    disk, operations = scenario.record(tmp_path / "recorded")
    operations[2] = replace(operations[2], offset=operations[2].offset - 1)

    with pytest.raises(LostError):
        judge_all(scenario, disk, operations, tmp_path)


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
@pytest.mark.parametrize(
    "name",
    ["update with a longer manifest", "update of a hard link", "pack", "extract", "directory: update, signed"],
)
def test_what_is_recorded_is_what_the_kernel_is_asked(name: str, tmp_path: Path) -> None:
    number = [scenario.name for scenario, _ in SCENARIOS].index(name)
    folder, log = tmp_path / "traced", tmp_path / "log"
    tracer = ["strace", "-f", "-y", "-qq", "-s", "0", "-e", f"trace={CALLS}", "-o", str(log)]
    child = [sys.executable, "-m", "tests.crash.traced", str(number), str(folder)]

    done = subprocess.run([*tracer, *child], cwd=ROOT, capture_output=True, text=True, check=False)

    if re.search("ptrace|PTRACE", done.stderr):
        pytest.skip("tracing is not allowed here")
    assert done.returncode == 0, done.stderr
    assert [repr(item) for item in issued(log.read_text(), folder)] == done.stdout.splitlines()


def judge_all(scenario: Scenario, disk: Disk, operations: list[Operation], folder: Path) -> None:
    for number, tree in enumerate(power_cuts(disk, operations, random.Random(7), 400)):
        scenario.judged(tree, folder / f"scratch{number}")
