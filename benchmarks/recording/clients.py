"""The demo's non-retrying clients with digits, in a process of their own; every answer is checked for its values.

``python -m benchmarks.recording.clients PORT MODEL QUESTIONS`` prints when it began, sends until standard input ends,
and prints its answers as JSON, each ``[at_s, latency in ms, revision, version, fault]``. It began by the monotonic
clock, which all processes of a host share.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from examples.traffic import Request, Traffic

import hyperion
from benchmarks.measure import ROOT
from benchmarks.recording.flaws import BRIGHTNESS

PAUSE_S = 0.012
KEEP_ALIVE = ONE_SHOT = 4
BRIGHT, FAINT = 14, 2
"""Questions of each kind."""
TOLERANCE = 0.001
"""Between an answered probability and that of the package, run without a service."""


class Seen(NamedTuple):
    """An answer, or what came in its place; of the revision and version that it names.

    Attributes:
        at_s: When it came, since the clients began.
    """

    at_s: float
    latency_ms: float
    revision: int | None
    version: str | None
    fault: str | None


def write_questions(path: Path, packages: Mapping[str, Path], images: np.ndarray) -> float:
    """Write the images that tell the packages apart best, and what each package answers them.

    Args:
        path: To write.
        packages: By version; the first two are to be told apart.
        images: float32 [n, 1, 28, 28] with values from 0 to 1.

    Returns:
        The smallest distance between answers of the first two packages to the same question.
    """
    models = {version: hyperion.load_model(package) for version, package in packages.items()}

    def scores(version: str, image: np.ndarray) -> np.ndarray:
        scored: np.ndarray = models[version].run({"image": image[None]})["probabilities"][0]
        return scored

    def distance(image: np.ndarray) -> float:
        old, new = list(packages)[:2]
        return float(np.abs(scores(old, image) - scores(new, image)).max())

    bright = sorted(images.round(4), key=distance)[-BRIGHT:]
    faint = sorted((images * np.float32(BRIGHTNESS)).round(4), key=distance)[-FAINT:]
    questions = [
        {
            "image": image.ravel().tolist(),
            "answers": {version: scores(version, image).tolist() for version in packages},
        }
        for image in (*bright, *faint)
    ]
    path.write_text(json.dumps(questions))
    return min(distance(image) for image in (*bright, *faint))


@dataclass
class Crowd:
    """Clients that send.

    Attributes:
        began: When they did, by the monotonic clock.
        seen: What they saw, in order; empty until they have ended.
    """

    began: float
    seen: list[Seen]


@contextlib.contextmanager
def clients(port: int, model: str, questions: Path) -> Iterator[Crowd]:
    """Clients that send meanwhile."""
    words = [sys.executable, "-m", "benchmarks.recording.clients", str(port), model, str(questions)]
    with subprocess.Popen(words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        crowd = Crowd(float(process.stdout.readline()), [])
        yield crowd
        out, _ = process.communicate()
    crowd.seen += [Seen(*found) for found in json.loads(out)]


def request(image: list[float], answers: Mapping[str, list[float]]) -> Request:
    """One digit, whose answer must be what the version that answers gives; NaN is never right."""
    tensor = {"name": "image", "datatype": "FP32", "shape": [1, 1, 28, 28], "data": image}

    def fault_of(answer: dict[str, Any]) -> str | None:
        version, found = answer["model_version"], answer["outputs"][0]["data"]
        right = all(abs(a - b) <= TOLERANCE for a, b in zip(found, answers[version], strict=True))
        return None if right else f"wrong values for version {version}"

    return Request(json.dumps({"inputs": [tensor]}).encode(), fault_of)


def main(port: int, model: str, questions: Path) -> None:
    requests = [request(**question) for question in json.loads(questions.read_text())]
    traffic = Traffic(port, model, requests, keep_alive=KEEP_ALIVE, one_shot=ONE_SHOT, pause_s=PAUSE_S)
    with traffic:
        print(time.monotonic() - traffic.now_s(), flush=True)
        sys.stdin.read()
    print(json.dumps([(a.at_s, a.latency_ms, a.revision, a.version, a.fault) for a in traffic.answers]))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
