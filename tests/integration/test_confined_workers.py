"""Serving workers: confined before they load a model, and not occupied for ever by one request."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest
from tests.integration.test_run_watch import looping
from tests.serving_kit import call, eventually, make_package, supervisor

from hyperion.adapters.sandbox.confinement import available


def infer(url: str, turns: int) -> int:
    tensor = {"name": "n", "shape": [], "datatype": "INT64", "data": [turns]}
    return call(f"{url}/v2/models/shop/infer", json.dumps({"inputs": [tensor]}).encode())[0]


@pytest.mark.skipif(bool(available().missing), reason=f"this kernel: {available()}")
def test_a_worker_is_confined_and_an_endless_request_does_not_keep_it(tmp_path: Path) -> None:
    # given: a model that turns as often as the request says
    package = make_package(tmp_path, "m", model=onnx.load_from_string(looping()), golden=False)
    with supervisor(tmp_path / "state") as running:
        url = running.deploy(package, limits={"request_timeout_s": 1.0}).url
        (worker,) = running.worker_pids()
        status = Path(f"/proc/{worker}/status").read_text()

        # then: no privileges, a filter of system calls, and a line in the log that says all of it
        assert "NoNewPrivs:\t1" in status
        assert "Seccomp:\t2" in status
        log = (tmp_path / "state" / "logs" / "shop" / "r1.jsonl").read_text().splitlines()
        lines = [line for line in map(json.loads, log) if line["event"] == "worker.confined"]
        assert all("Landlock" in line["message"] for line in lines)
        assert len(lines) == 1

        # when: a request would run for years
        assert infer(url, 2**40) == 503

        # then: the same worker answers the next one
        eventually(lambda: infer(url, 3) == 200, what="an answer")
        assert running.worker_pids() == [worker]
