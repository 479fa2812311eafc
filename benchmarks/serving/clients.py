"""The demo's non-retrying clients in a process of their own, so that they take no time from whoever measures.

``python -m benchmarks.serving.clients PORT MODEL`` sends until standard input ends, then prints its answers as JSON:
``[when, revision, fault]``, where ``when`` is of the monotonic clock, which all processes of a host share.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import NamedTuple

from benchmarks.measure import ROOT
from benchmarks.traffic import Traffic, random_requests

PAUSE_S = 0.005
KEEP_ALIVE = ONE_SHOT = 4


class Seen(NamedTuple):
    """An answer, or what came in its place."""

    at: float
    revision: int | None
    fault: str | None


@contextlib.contextmanager
def clients(port: int, model: str) -> Iterator[list[Seen]]:
    """Clients that send meanwhile; afterwards the list holds what they saw, in order."""
    words = [sys.executable, "-m", "benchmarks.serving.clients", str(port), model]
    seen: list[Seen] = []
    with subprocess.Popen(words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()  # they send
        yield seen
        out, _ = process.communicate()
    seen += [Seen(*found) for found in json.loads(out)]


def main(port: int, model: str) -> None:
    traffic = Traffic(port, model, random_requests(), keep_alive=KEEP_ALIVE, one_shot=ONE_SHOT, pause_s=PAUSE_S)
    with traffic:
        began = time.monotonic() - traffic.now_s()
        print("sending", flush=True)
        sys.stdin.read()
    print(json.dumps([(began + answer.at_s, answer.revision, answer.fault) for answer in traffic.answers]))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
