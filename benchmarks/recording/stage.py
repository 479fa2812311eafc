"""Where it is recorded: a copy of the guide's folder, a state folder of its own, commands as a person types them."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from examples.deployment_guide import copied_folder

from benchmarks.measure import free_port
from benchmarks.recording.flaws import greedy, undefined, write_candidate
from benchmarks.recording.record import Typed

LINE_PATIENCE_S = 120


@dataclass(frozen=True)
class Line:
    """What is typed next.

    Attributes:
        command: ``{worker}`` and ``{supervisor}`` stand for process ids, which are looked up just before.
        expected: Its exit code.
        interrupted_after_s: When Ctrl-C is pressed; None for never.
        rest_s: Until the next line.
    """

    command: str
    expected: int = 0
    interrupted_after_s: float | None = None
    rest_s: float = 1.0


class Stage:
    """A folder in which the guide's commands can be typed."""

    def __init__(self, home: Path) -> None:
        self.port = free_port()
        self.folder = copied_folder(home, self.port)
        self._home = home
        self.environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
            "HYPERION_HOME": str(home / "state"),
            "COLUMNS": "140",
        }

    def type(self, line: Line, began: float) -> Typed:
        """Run one line in a shell; its output is both streams as they came, with the run's folder as ``~``."""
        command = self._filled(line.command)
        started = time.monotonic()
        process = subprocess.Popen(
            ["bash", "-c", f"exec {command}" if line.interrupted_after_s else command],
            cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        try:
            output, _ = process.communicate(timeout=line.interrupted_after_s or LINE_PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT if line.interrupted_after_s else signal.SIGKILL)
            output, _ = process.communicate()
        took_s = time.monotonic() - started
        shown = output.replace(str(self._home), "~")
        return Typed(command, started - began, took_s, process.returncode, line.expected, shown)

    def prepare(self, command: str) -> None:
        """Run what goes before the recording.

        Raises:
            RuntimeError: It failed; the message holds its output.
        """
        done = self._run(command)
        if done.returncode:
            raise RuntimeError(f"{command}: exit code {done.returncode}\n{done.stdout}{done.stderr}")

    def stop(self) -> None:
        self._run("hyperion stop --all")

    def _filled(self, command: str) -> str:
        if "{" not in command:
            return command
        status = json.loads(self._run("hyperion status --json").stdout)
        (deployment,) = status["deployments"]
        worker = next(worker for worker in deployment["workers"] if worker["state"] == "accepting")
        return command.format(worker=worker["pid"], supervisor=status["supervisor"]["pid"])

    def _run(self, command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-c", command], cwd=self.folder, env=self.environment, capture_output=True, text=True,
            timeout=LINE_PATIENCE_S, check=False,
        )  # fmt: skip


@contextlib.contextmanager
def stage() -> Iterator[Stage]:
    """A stage that is stopped and removed at the end."""
    home = Path(tempfile.mkdtemp(prefix="hyperion-recording-"))
    made = Stage(home)
    try:
        yield made
    finally:
        made.stop()
        shutil.rmtree(home, ignore_errors=True)


def write_bad_models(made: Stage) -> None:
    """The directories of the two bad candidates, beside those of the guide."""
    source = made.folder.parent / "mnist" / "v2"
    write_candidate(source, made.folder / "undefined", "1.3.0", undefined)
    write_candidate(source, made.folder / "greedy", "1.4.0", greedy)


def write_canary_config(made: Stage) -> None:
    """canary.json: the guide's deployment.json, in steps, and with a spare worker."""
    config = json.loads((made.folder / "deployment.json").read_text())
    steps = [{"share": share, "bake_s": 6} for share in (0.05, 0.25, 0.5)]
    config |= {"strategy": "canary", "canary": {"steps": steps}, "warm_spare": True}
    (made.folder / "canary.json").write_text(json.dumps(config, indent=2) + "\n")
