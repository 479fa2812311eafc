"""A user's shell: the installed CLI as a subprocess, with a state folder of its own."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from hyperion.cli.main import run

HYPERION = (sys.executable, "-m", "hyperion")


@dataclass(frozen=True)
class Shell:
    """Runs ``hyperion`` in ``folder``; state lives in ``folder/home``."""

    folder: Path
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(("HYPERION_", "XDG_"))}
        return {**inherited, "HYPERION_HOME": str(self.folder / "home"), "COLUMNS": "100", **self.variables}

    def __call__(self, *words: str | Path, timeout_s: float = 60, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run one command and wait."""
        return subprocess.run(
            [*HYPERION, *map(str, words)], cwd=self.folder, env={**self.environment, **variables},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=timeout_s,
        )  # fmt: skip

    def start(self, *words: str | Path) -> subprocess.Popen[str]:
        """Start a command that goes on."""
        return subprocess.Popen(
            [*HYPERION, *map(str, words)], cwd=self.folder, env=self.environment, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def terminal(self, *words: str | Path, columns: int = 100, **variables: str) -> tuple[int, str]:
        """Run one command on a terminal of its own; returns its exit code and all that it drew."""
        ours, theirs = pty.openpty()
        size = {"COLUMNS": str(columns), "LINES": "50", "TERM": "xterm-256color"}
        process = subprocess.Popen(
            [*HYPERION, *map(str, words)], cwd=self.folder, env={**self.environment, **size, **variables},
            stdin=theirs, stdout=theirs, stderr=theirs,
        )  # fmt: skip
        os.close(theirs)
        drawn = bytearray()
        with os.fdopen(ours, "rb", buffering=0) as screen, suppress(OSError):  # EIO: the terminal was closed
            while data := screen.read(65_536):
                drawn += data
        return process.wait(timeout=60), drawn.decode()

    def ok(self, *words: str | Path, timeout_s: float = 60) -> str:
        """Run a command that must succeed; returns its stdout."""
        done = self(*words, timeout_s=timeout_s)
        assert done.returncode == 0, told(done)
        return done.stdout

    def json(self, *words: str | Path, code: int = 0) -> Any:
        """Run a command with ``--json`` that must end with ``code``; returns what it printed."""
        done = self(*words, "--json")
        assert done.returncode == code, told(done)
        return json.loads(done.stdout)

    def within(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        """The same as a call, but in this process: for the many commands that must only be refused."""
        out, err = StringIO(), StringIO()
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            patch.setenv("HYPERION_HOME", self.environment["HYPERION_HOME"])
            patch.chdir(self.folder)
            code = run([*map(str, words)])
        return subprocess.CompletedProcess([*HYPERION, *map(str, words)], code, out.getvalue(), err.getvalue())

    def made(self, *words: str | Path) -> str:
        """Run, in this process, a command that must succeed: for what a test needs and does not judge."""
        done = self.within(*words)
        assert done.returncode == 0, told(done)
        return done.stdout

    def status(self) -> Any:
        """What ``status`` says with ``--json``, asked in this process: for looking again and again."""
        return json.loads(self.made("status", "--json"))


def told(done: subprocess.CompletedProcess[str]) -> str:
    """A finished command as a person would see it."""
    return f"$ hyperion {' '.join(done.args[len(HYPERION) :])}\nexit {done.returncode}\n{done.stdout}{done.stderr}"


def refused(done: subprocess.CompletedProcess[str], code: int) -> str:
    """Demand a clean refusal with ``code``; returns what it said."""
    assert done.returncode == code, told(done)
    assert "Traceback" not in done.stdout + done.stderr, told(done)
    assert "\x1b" not in done.stdout + done.stderr, told(done)
    return done.stderr


def eventually(condition: Callable[[], bool], timeout_s: float = 60) -> None:
    """Wait until ``condition`` holds."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not become true in time"
        time.sleep(0.05)


def ask(url: str, body: object = None) -> Any:
    """GET, or POST ``body`` as JSON; returns the parsed answer."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, headers={"Content-Type": "application/json"})  # noqa: S310
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
        return json.loads(answer.read() or "null")


def answers(url: str) -> bool:
    """Whether anything listens there."""
    try:
        ask(f"{url}/v2")
    except (urllib.error.URLError, OSError):
        return False
    return True
