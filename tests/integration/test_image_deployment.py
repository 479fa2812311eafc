"""A deployment with a host image and batching, from the deploy use case to the answers of its workers."""

from __future__ import annotations

import json
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from tests.fakes.reporter import CollectingReporter
from tests.models import expected, inputs, mlp, write_model_dir
from tests.packaging import names_and_scores, pack, write_model
from tests.serving_kit import Foreground, call, eventually, supervisor

from hyperion.bootstrap import open_host
from hyperion.domain.config import Batching, DeploymentConfig, Serve
from hyperion.domain.event import EventKind
from hyperion.usecases.cache import read_cache
from hyperion.usecases.deploy import DeployResult, deploy_model
from hyperion.usecases.status import read_status

CONFIG = DeploymentConfig(
    name="shop", serve=Serve(port=0), workers=1, image="on", batching=Batching(mode="on", max_wait_ms=5)
)


@pytest.fixture
def running(tmp_path: Path) -> Foreground:  # type: ignore[misc]
    with supervisor(tmp_path / "state") as found:
        yield found


def deploy(running: Foreground, tmp_path: Path) -> DeployResult:
    path = tmp_path / "m.hyperion"
    pack(write_model_dir(tmp_path / "model"), path, "none")
    return deploy_model(open_host(running.state), path, CONFIG, CollectingReporter())


def body(x: np.ndarray) -> bytes:
    tensor = {"name": "x", "shape": list(x.shape), "datatype": "FP32", "data": x.ravel().tolist()}
    return json.dumps({"inputs": [tensor]}).encode()


def answer(result: DeployResult, x: np.ndarray) -> np.ndarray:
    status, found, _ = call(f"{result.url}/v2/models/shop/infer", body(x))
    assert status == 200, found
    return np.array(found["outputs"][0]["data"], np.float32).reshape(len(x), -1)


def notes(running: Foreground) -> tuple[str, ...]:
    return running.status().deployments[0].notes


def test_workers_load_a_proven_image_batch_what_agrees_and_refuse_the_image_once_it_changed(
    running: Foreground, tmp_path: Path
) -> None:
    # given: a deployment whose image was built, recorded and used
    result = deploy(running, tmp_path)
    assert result.promoted, result.aborted_reason
    host = open_host(running.state)
    (image,) = read_cache(host).images
    assert [e.data["image"] for e in host.ledger.events(kinds=[EventKind.IMAGE_BUILT])] == [image.image]
    assert notes(running) == ()

    # then: requests at once are all answered rightly, and the runs are counted
    x = inputs(24, seed=9)
    with ThreadPoolExecutor(8) as clients:
        found = list(clients.map(lambda row: answer(result, row), np.split(x, 24)))
    assert np.allclose(np.concatenate(found), expected(mlp(), x), atol=1e-5)
    _, metrics, _ = call(f"{result.url}/metrics")
    (total,) = [line for line in metrics.splitlines() if line.startswith("hyperion_batch_size_sum")]
    assert total.endswith(" 24")

    # when: a bit of the image changes and the worker is started again
    weights = running.state / "images" / image.image.removeprefix("sha256:") / "weights.bin"
    raw = bytearray(weights.read_bytes())
    raw[100] ^= 1
    weights.write_bytes(raw)
    (pid,) = running.worker_pids()
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: running.worker_pids() not in ([], [pid]), what="the new worker")

    # then: it serves from the package, and status says why
    assert np.allclose(answer(result, x[:1]), expected(mlp(), x[:1]), atol=1e-5)
    (note,) = notes(running)
    assert "weights.bin is damaged" in note
    log = (running.state / "logs" / "shop" / "r1.jsonl").read_text()
    assert "worker.no_image" in log


def test_a_classifier_that_answers_with_names_is_deployed_and_answers(running: Foreground, tmp_path: Path) -> None:
    path = tmp_path / "names.hyperion"
    pack(write_model(tmp_path / "names", names_and_scores()), path, "none")

    result = deploy_model(open_host(running.state), path, CONFIG, CollectingReporter())

    assert result.promoted, result.aborted_reason
    status, found, _ = call(f"{result.url}/v2/models/shop/infer", body(inputs(2)))
    assert status == 200, found
    assert set(found["outputs"][0]["data"]) <= {"setosa", "versicolor", "virginica"}
    assert read_status(open_host(running.state)).batching["shop"].max_batch == CONFIG.batching.max_batch
