"""Hyperion as a user installs it, with an extra, in an environment of its own; offline its tests are skipped."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.oracle_venv import CACHE, INSTALL_TIMEOUT_S

ROOT = Path(__file__).resolve().parents[1]
SMALL_TORCH = "torch==2.13.0+cpu"
"""Taken where pip can find it: the default build brings 4 GB of libraries for GPUs."""


@dataclass(frozen=True)
class Installation:
    """The ``bin`` folder of an environment, and where its commands keep their state."""

    bin: Path
    home: Path

    @property
    def environment(self) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("HYPERION_", "PYTHON", "HF_"))}
        path = f"{self.bin}{os.pathsep}{kept.get('PATH', os.defpath)}"
        return {**kept, "PATH": path, "HYPERION_HOME": str(self.home), "COLUMNS": "200"}

    def __call__(self, *words: str | Path, folder: Path, timeout_s: float = 600) -> subprocess.CompletedProcess[str]:
        """Run a program of the environment and wait."""
        command = [str(self.bin / words[0]), *map(str, words[1:])]
        return subprocess.run(
            command, cwd=folder, env=self.environment, capture_output=True, text=True, check=False, timeout=timeout_s
        )

    def ok(self, *words: str | Path, folder: Path) -> str:
        """Run a program that must succeed; returns what it printed."""
        done = self(*words, folder=folder)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def installed_with(extra: str, home: Path) -> Installation:
    """``pip install 'hyperion-deploy[extra]'`` of this very tree: dependencies once, the project each time."""
    folder = CACHE / f"hyperion-{extra}"
    pip = [str(folder / "bin" / "pip"), "install", "--quiet"]
    if not (folder / "ready").is_file():
        _demand(extra, [sys.executable, "-m", "venv", "--clear", str(folder)])
        _done([*pip, SMALL_TORCH])
        _demand(extra, [*pip, f"{ROOT}[{extra}]"])
        (folder / "ready").touch()
    else:
        _demand(extra, [*pip, "--force-reinstall", "--no-deps", str(ROOT)])
    return Installation(folder / "bin", home)


def _demand(extra: str, command: list[str]) -> None:
    fault = _done(command)
    if fault is not None:
        pytest.skip(f"hyperion-deploy[{extra}] cannot be installed: {fault}")


def _done(command: list[str]) -> str | None:
    """Run a command; why it failed, or None."""
    try:
        made = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return None if made.returncode == 0 else (made.stderr.strip().splitlines()[-1:] or ["no reason given"])[0]
