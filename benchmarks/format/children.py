"""The measuring side of benchmarks.format.child: start one, give it orders, watch its memory, stop it in time."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from benchmarks.measure import ROOT

SAMPLE_S = 0.001


class ChildFailedError(RuntimeError):
    """An order failed, or the child ended."""


class TooSlowError(RuntimeError):
    """An order took longer than it may; the child was ended."""


@dataclass(frozen=True)
class Answer:
    """What an order came to: seconds of the call itself, as the child's own clock has it, and what it returned."""

    seconds: float
    value: Any


@dataclass(frozen=True)
class Memory:
    """Of one order, in bytes above what the process had just before it.

    Attributes:
        anonymous: Largest growth of RssAnon in samples taken every millisecond from outside.
        resident: Growth of VmHWM, which the kernel keeps exactly: an upper bound, for it counts mapped file pages too.
    """

    anonymous: int
    resident: int


class Child:
    """One process; use it as a context manager.

    Args:
        module: What it imports and calls.
        python: Its interpreter.
        environment: Variables beside ours.
    """

    def __init__(self, module: str, python: Path | None = None, environment: dict[str, str] | None = None) -> None:
        self._process = subprocess.Popen(
            [python or sys.executable, "-m", "benchmarks.format.child", module],
            cwd=ROOT, env={**os.environ, **(environment or {})}, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        self._said: list[str] = []
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        self._receive(None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def call(self, name: str, *, timeout_s: float | None = None, **arguments: object) -> Answer:
        """Run one function of the module.

        Raises:
            ChildFailedError: It raised; the message is that of the exception.
            TooSlowError: It took longer than ``timeout_s``.
        """
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"call": name, "arguments": arguments}) + "\n")
        self._process.stdin.flush()
        answer = self._receive(timeout_s)
        return Answer(answer["seconds"], answer["value"])

    def seconds(self, name: str, *, timeout_s: float | None = None, **arguments: object) -> float:
        """How long one function takes."""
        return self.call(name, timeout_s=timeout_s, **arguments).seconds

    def memory(self, name: str, **arguments: object) -> Memory:
        """Peak memory of one call above what the process has now."""
        status = Path(f"/proc/{self._process.pid}/status")
        Path(f"/proc/{self._process.pid}/clear_refs").write_text("5")  # VmHWM starts again from here
        before, samples, done = _status(status), [0], threading.Event()

        def watch() -> None:
            while not done.wait(SAMPLE_S):
                samples.append(_status(status)["RssAnon"])

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            self.call(name, **arguments)
        finally:
            done.set()
            watcher.join()
        after = _status(status)
        samples.append(after["RssAnon"])
        return Memory(max(samples) - before["RssAnon"], after["VmHWM"] - before["VmRSS"])

    def close(self) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._kill()
        self._listener.join(10)

    def _receive(self, timeout_s: float | None) -> dict[str, Any]:
        assert self._process.stdout is not None
        if timeout_s is not None and not select.select([self._process.stdout], [], [], timeout_s)[0]:
            self._kill()
            raise TooSlowError(f"took longer than {timeout_s:g} s")
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            raise ChildFailedError(f"ended with {self._process.returncode}: {self._tail()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise ChildFailedError(f"{answer['error']}\n{answer['traceback']}")
        return answer

    def _listen(self) -> None:
        """Keep the last lines of the standard error, and never let it fill its pipe."""
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self._said = [*self._said[-19:], line]

    def _tail(self) -> str:
        self._listener.join(1)
        return "".join(self._said)[-2000:]

    def _kill(self) -> None:
        self._process.kill()
        self._process.wait()


def _status(path: Path) -> dict[str, int]:
    """Memory figures of a process, in bytes."""
    found = {}
    for line in path.read_text().splitlines():
        name, _, value = line.partition(":")
        if value.endswith(" kB"):
            found[name] = 1024 * int(value[:-3])
    return found
