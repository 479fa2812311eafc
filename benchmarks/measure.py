"""How all benchmarks measure: ours and the reference take turns, the median counts, the ratio is the result."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HYPERION = str(Path(sys.executable).parent / "hyperion")


@dataclass(frozen=True)
class Figure:
    """One row of the results.

    Attributes:
        title: What was measured.
        unit: Of ``ours`` and ``reference``.
        ours: Median; None where nothing could be measured, which keeps no limit.
        spread: Smallest and largest of ours.
        against: What the reference is; None where the figure stands alone.
        reference: Median of the reference.
        limit: What ``ours`` may be at most, in ``unit``; None where there is no target yet.
        note: What a reader must know to judge it.
        key: Its name in the list of figures to reach, such as ``P1``; empty outside that list.
        bar: What the ratio may be at most.
        at_least: Whether the reference was stopped at its time limit: it took at least this long.
        unavailable: Why there is no reference to compare with, or no figure at all.
    """

    title: str
    unit: str
    ours: float | None
    spread: tuple[float, float]
    against: str | None = None
    reference: float | None = None
    limit: float | None = None
    note: str = ""
    key: str = ""
    bar: float | None = None
    at_least: bool = False
    unavailable: str | None = None

    @property
    def ratio(self) -> float | None:
        """Ours over the reference."""
        return self.ours / self.reference if self.reference and self.ours is not None else None

    @property
    def holds(self) -> bool:
        """Whether limit and bar, where there are any, are kept; a bar without a reference is not judged."""
        if self.ours is None:
            return False
        in_limit = self.limit is None or self.ours <= self.limit
        return in_limit and (self.bar is None or self.ratio is None or self.ratio <= self.bar)

    def line(self) -> str:
        """The row for a terminal."""
        if self.ours is None:
            return f"{self.key} {self.title}: not measured: {self.unavailable}".lstrip()
        text = f"{self.title}: {self.ours:.4g} {self.unit}".rstrip()
        if self.spread[0] != self.spread[1]:
            text += f" ({self.spread[0]:.4g}-{self.spread[1]:.4g})"
        if self.key:
            text = f"{self.key} {text}"
        if self.ratio is not None:
            text += f", {self.ratio:.3g} x {self.against} ({self.reference:.4g} {self.unit})"
        elif self.unavailable is not None:
            text += f", {self.against} unavailable: {self.unavailable}"
        if self.holds:
            return text
        limits = [f"{self.limit:g} {self.unit}"] if self.limit is not None else []
        return f"{text}  NOT MET: {' and '.join([*limits, *([f'{self.bar:g} x'] if self.bar is not None else [])])}"


@dataclass(frozen=True)
class Result:
    """One benchmark: its rows, and the command that makes them again."""

    name: str
    what: str
    command: str
    figures: tuple[Figure, ...]

    @property
    def holds(self) -> bool:
        """Whether every limit is kept."""
        return all(figure.holds for figure in self.figures)


def take_turns(ways: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Run each way once a round, so that whatever else the machine does falls on all of them alike."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds):
        for name in sorted(ways, reverse=number % 2 == 1):
            found[name].append(ways[name]())
    return found


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def spread(values: Sequence[float]) -> tuple[float, float]:
    return min(values), max(values)


def seconds(command: Sequence[str], cwd: Path | None = None, env: Mapping[str, str] | None = None) -> float:
    """Wall time of one command, which must succeed."""
    started = time.perf_counter()
    subprocess.run(command, cwd=cwd, env=env, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - started


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def report(result: Result) -> int:
    """Print one result; the exit code of its module."""
    print(f"{result.name}: {result.what}")
    for figure in result.figures:
        print(f"  {figure.line()}")
    return 0 if result.holds else 1


class Service:
    """Hyperion with a state folder of its own, run by its installed command."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.environment = {**os.environ, "HYPERION_HOME": str(folder / "state")}

    def run(self, *arguments: object) -> dict:
        """One command with ``--json``; its answer.

        Raises:
            RuntimeError: It ended with another exit code than 0; the message holds its output.
        """
        words = [HYPERION, *(str(argument) for argument in arguments), "--json"]
        done = subprocess.run(words, env=self.environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(words)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
        return json.loads(done.stdout)

    def package(self, source: Path, *options: str) -> Path:
        """A model directory, packaged."""
        output = self.folder / f"{source.name}.hyperion"
        self.run("package", "model", "--input", source, "--output", output, *options)
        return output

    def deploy(self, package: Path, name: str) -> dict:
        """The package, deployed on this service's port."""
        config = self.folder / "deployment.json"
        config.write_text(json.dumps({"name": name, "serve": {"port": self.port}}))
        return self.run("deploy", "model", "--input", package, "--config", config)


@contextlib.contextmanager
def service() -> Iterator[Service]:
    """A service that is stopped and removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="hyperion-bench-"))
    made = Service(folder)
    try:
        yield made
    finally:
        subprocess.run([HYPERION, "stop", "--all"], env=made.environment, check=False, capture_output=True)
        shutil.rmtree(folder, ignore_errors=True)
