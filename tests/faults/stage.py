"""Where a fault happens: packages whose answers are known, a supervisor, a crowd of clients, and what came of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from tests import models
from tests.faults import candidates
from tests.faults.candidates import PROVOCATION
from tests.faults.crowd import LARGE_ROWS, PLAIN, Crowd, Manners, Question
from tests.serving_kit import Foreground, eventually, golden_bytes, make_package, rewritten, supervisor

NAME = "shop"
GOLDEN = "assets/golden/sample.safetensors"
QUIET: Mapping[str, Any] = {"gates": {"watch_s": 0}}
"""Config of rollouts that are about something else than the gates."""

Model = tuple[str, onnx.ModelProto]


@cache
def sound() -> dict[str, Model]:
    """Models that answer well, by the name of their package: version and graph."""
    return {
        "v1": ("1.0.0", models.mlp(0)),
        "v2": ("1.1.0", models.mlp(1)),
        "slow1": ("1.2.0", candidates.slow(2)),
        "slow2": ("1.3.0", candidates.slow(3)),
    }


@cache
def bad() -> dict[str, Model]:
    """Models that go bad on live requests."""
    return {
        "crashing": ("2.0.0", candidates.crashing()),
        "hanging": ("2.1.0", candidates.hanging()),
        "slow": ("2.2.0", candidates.slow()),
        "nan": ("2.3.0", candidates.nan()),
        "misshapen": ("2.4.0", candidates.misshapen()),
        "greedy": ("2.5.0", candidates.greedy()),
        "lying": ("2.6.0", candidates.lying()),
    }


def live_inputs(rows: int, seed: int) -> np.ndarray:
    """float32 [rows, 32], with what provokes a bad model."""
    x = models.inputs(rows, seed)
    x[:, 0] = PROVOCATION
    return x


@cache
def questions() -> tuple[tuple[Question, ...], Question]:
    """Small ones, and a large one; the bad models' right answers are v1's."""
    return tuple(_question(1, seed) for seed in range(6)), _question(LARGE_ROWS, 9)


def _question(rows: int, seed: int) -> Question:
    x = live_inputs(rows, seed)
    tensor = {"name": "x", "shape": list(x.shape), "datatype": "FP32", "data": x.ravel().tolist()}
    answers = {}
    for name, (version, model) in sound().items():
        plain = models.mlp({"slow1": 2, "slow2": 3}[name]) if name.startswith("slow") else model
        answers[version] = models.expected(plain, x).tolist()
    answers |= {version: answers["1.0.0"] for version, _ in bad().values()}
    return Question(json.dumps({"inputs": [tensor]}).encode(), answers)


class Packages:
    """Packages of one run, made when they are first asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __getitem__(self, name: str) -> Path:
        path = self._folder / f"{name}.hyperion"
        if not path.exists():
            version, model = {**sound(), **bad()}[name]
            make_package(self._folder, name, version=version, model=model)
        return path

    def provoked(self, name: str) -> Path:
        """A bad model whose golden request provokes it, with the answer that it ought to give."""
        path = self._folder / f"{name}-provoked.hyperion"
        x = live_inputs(4, 1)
        return path if path.exists() else rewritten(self[name], path, _golden(x, models.expected(models.mlp(0), x)))

    def wrong(self) -> Path:
        """v2, which ought to answer what v1 does."""
        x = models.inputs(4, 1)
        path = self._folder / "wrong.hyperion"
        return path if path.exists() else rewritten(self["v2"], path, _golden(x, models.expected(models.mlp(0), x)))

    def two_rows(self) -> Path:
        """v2, which ought to answer more rows than it is asked."""
        x = models.inputs(4, 1)
        path = self._folder / "two-rows.hyperion"
        y = np.concatenate([models.expected(models.mlp(1), x)] * 2)
        return path if path.exists() else rewritten(self["v2"], path, _golden(x, y))


def _golden(x: np.ndarray, y: np.ndarray) -> dict[str, bytes]:
    return {GOLDEN: golden_bytes(x, y)}


@dataclass
class Outcome:
    """What came of one scenario.

    Attributes:
        name: Of the scenario.
        faults: What was not as it must be; empty where all was.
        facts: Counts and times worth a line.
    """

    name: str
    faults: list[str] = field(default_factory=list)
    facts: dict[str, int | float | str] = field(default_factory=dict)

    def demand(self, holds: object, words: str) -> None:
        """A fault where it does not hold."""
        if not holds:
            self.faults.append(words)

    def demand_none(self, crowd: Crowd, *, but_of: int | None = None) -> None:
        """No client saw a fault."""
        self.facts["requests"] = int(self.facts.get("requests", 0)) + len(crowd.sent)
        self.faults += [f"{count} x {fault}" for fault, count in crowd.faults(but_of=but_of).most_common(5)]

    def line(self) -> str:
        facts = ", ".join(
            f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
            for name, value in self.facts.items()
        )
        verdict = "held" if not self.faults else f"FAILED: {'; '.join(self.faults)}"
        return f"{self.name}: {verdict}" + (f" ({facts})" if facts else "")


@contextmanager
def crowd(running: Foreground, url: str, manners: Manners = PLAIN, every_s: float = 0.007) -> Iterator[Crowd]:
    """Clients of the deployment, who have had some answers already."""
    small, large = questions()
    with Crowd(url, NAME, small, large, manners, every_s) as found:
        eventually(lambda: found.answered() > 10 or found.faults(), what="the first answers")
        yield found


@contextmanager
def serving(state: Path, package: Path, **config: Any) -> Iterator[tuple[Foreground, str]]:
    """A supervisor that serves a package; and its URL."""
    with supervisor(state) as running:
        deployed = running.deploy(package, NAME, **config)
        assert deployed.promoted, deployed
        yield running, str(deployed.url)


def shop(running: Foreground) -> Any:
    """The deployment's status."""
    return next(found for found in running.status().deployments if found.deployment.name == NAME)
