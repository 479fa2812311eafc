"""Every command of the deployment guide, pasted top to bottom in examples/guide, succeeds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from examples.deployment_guide import COMMANDS, PACKAGING, copied_folder
from tests.ports import free_port


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Environment of a user's shell with the installed CLI and a state folder of its own; stops all at the end."""
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HYPERION_HOME": str(tmp_path / "home"),
    }
    yield environment
    subprocess.run(["hyperion", "stop", "--all"], env=environment, check=False, capture_output=True, timeout=60)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the example folder as it is committed, on a free port."""
    return copied_folder(tmp_path, free_port())


@pytest.fixture
def guide(folder: Path, shell: dict[str, str]) -> Path:
    """The folder prepared as its README says: version 1.0.0 serves as current_model."""
    prepared = run("./prepare.sh", folder, shell)
    assert prepared.returncode == 0, prepared.stdout + prepared.stderr
    return folder


def run(command: str, folder: Path, shell: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", command], cwd=folder, env=shell, capture_output=True, text=True, check=False, timeout=150
    )


def as_pasted(command: str) -> str:
    """The command as a person would run it, but that endless ones end by themselves, and soon."""
    if command.startswith("hyperion monitor"):
        return command.replace("--interval 60", "--interval 1").replace("--interval 30", "--interval 1") + " --count 1"
    return command


@pytest.mark.timeout(600)
def test_every_command_of_the_guide_succeeds_when_pasted_from_top_to_bottom(guide: Path, shell: dict[str, str]) -> None:
    failures = []
    for command in COMMANDS:
        done = run(as_pasted(command), guide, shell)
        if done.returncode != 0:
            failures.append(f"$ {command}\nexit code {done.returncode}\n{done.stdout}{done.stderr}")

    assert not failures, "\n\n".join(failures)
    assert json.loads((guide / "metrics.json").read_text())["deployment"] == "current_model"


def _inspected(folder: Path, shell: dict[str, str]) -> dict[str, object]:
    """What the package says; not what this host measured on the way, which is another latency each time."""
    found: dict[str, object] = json.loads(run("hyperion inspect model.hyperion --json", folder, shell).stdout)
    del found["measurements"]
    return found


def test_packaging_and_extracting_in_the_guides_folder_twice_changes_nothing(
    folder: Path, shell: dict[str, str]
) -> None:
    commands = PACKAGING[:2]
    first = [run(command, folder, shell) for command in commands]
    before = _inspected(folder, shell)
    second = [run(command, folder, shell) for command in commands]

    assert [done.returncode for done in (*first, *second)] == [0, 0, 0, 0], second
    assert _inspected(folder, shell) == before
