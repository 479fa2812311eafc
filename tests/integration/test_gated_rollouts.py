"""The gates with real workers: a candidate that is wrong on live requests alone is left by itself, and that is told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from tests.models import FEATURES, mlp
from tests.serving_kit import Foreground, Load, eventually, ledger_events, make_package, supervisor

from hyperion.domain.event import Event, EventKind
from hyperion.domain.evidence import Evidence


def frail() -> onnx.ModelProto:
    """The test model, but NaN where an input is above 5; no golden request has one."""
    model = mlp()
    graph = model.graph
    graph.node[-1].output[0] = "scores"
    for name, value in (("five", 5.0), ("nought", 0.0)):
        graph.initializer.append(numpy_helper.from_array(np.float32(value), name))
    graph.node.extend(
        [
            helper.make_node("ReduceMax", ["x"], ["top"], axes=[1], keepdims=1),
            helper.make_node("Sub", ["five", "top"], ["room"]),
            helper.make_node("Sqrt", ["room"], ["root"]),
            helper.make_node("Mul", ["root", "nought"], ["zero"]),
            helper.make_node("Add", ["scores", "zero"], ["probabilities"]),
        ]
    )
    return model


def live_body() -> bytes:
    """A request as the golden ones are not: one input is 6."""
    values = ", ".join(["6.0"] + ["0.5"] * (FEATURES - 1))
    tensor = f'{{"name": "x", "shape": [1, {FEATURES}], "datatype": "FP32", "data": [{values}]}}'
    return f'{{"inputs": [{tensor}]}}'.encode()


@pytest.fixture(scope="module")
def candidates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gated")
    make_package(folder, "good", version="1.0.0")
    make_package(folder, "frail", version="1.1.0", model=frail())
    return folder


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Foreground]:
    with supervisor(tmp_path_factory.mktemp("state")) as found:
        yield found


@contextmanager
def under_load(running: Foreground, package: Path, name: str) -> Iterator[Load]:
    """The package serves live requests as a deployment of this name."""
    url = str(running.deploy(package, name).url)
    load = Load(url, f"/v2/models/{name}/infer", live_body()).start(keep_alive=2, one_shot=1)
    try:
        eventually(lambda: len(load.answers) > 50)
        yield load
    finally:
        load.stop()


def active_revision(running: Foreground, name: str) -> int | None:
    found = (status.deployment for status in running.status().deployments)
    return next(deployment.active_revision for deployment in found if deployment.name == name)


def event_of(running: Foreground, name: str, kind: EventKind) -> Event:
    return next(e for e in ledger_events(running.state) if e.kind is kind and e.deployment == name)


def breached(event: Event) -> list[str]:
    evidence: Any = event.data["evidence"]
    return [found.check for found in Evidence.model_validate(evidence, strict=False).breaches]


def test_a_canary_that_answers_nan_is_aborted_by_itself(running: Foreground, candidates: Path) -> None:
    with under_load(running, candidates / "good.hyperion", "canary") as load:
        steps = {"steps": [{"share": 0.2, "bake_s": 60.0}]}
        deployed = running.deploy(candidates / "frail.hyperion", "canary", strategy="canary", canary=steps)

    assert not deployed.promoted
    assert "of the candidate's answers held invalid outputs" in (deployed.reason or "")
    aborted = event_of(running, "canary", EventKind.ROLLOUT_ABORTED)
    assert (aborted.revision, breached(aborted)) == (2, ["rollout.invalid_outputs"])
    assert active_revision(running, "canary") == 1
    assert load.revisions() == {"1"}


def test_a_promoted_revision_that_answers_nan_is_left_by_itself(running: Foreground, candidates: Path) -> None:
    with under_load(running, candidates / "good.hyperion", "watched"):
        assert running.deploy(candidates / "frail.hyperion", "watched").promoted
        eventually(lambda: active_revision(running, "watched") == 3, what="the way back")

    left = event_of(running, "watched", EventKind.ROLLOUT_ROLLED_BACK)
    assert (left.revision, left.data["to"], breached(left)) == (2, 1, ["rollout.invalid_outputs"])
    log = (running.state / "supervisor.out").read_text()
    assert "watched: revision 2 breaks its gates" in log
