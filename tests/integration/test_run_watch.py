"""Runs that take too long are ended, and the worker goes on."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper

from hyperion.adapters.host.run_watch import STUCK_STATUS, RunWatch
from hyperion.errors import EngineError


def looping() -> bytes:
    """A model that turns as often as its input ``n`` says: x + 1 in each turn."""
    body = helper.make_graph(
        [
            helper.make_node("Add", ["before", "one"], ["after"]),
            helper.make_node("Identity", ["go"], ["on"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("before", TensorProto.FLOAT, []),
        ],
        [
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("after", TensorProto.FLOAT, []),
        ],
        [helper.make_tensor("one", TensorProto.FLOAT, [], [1.0])],
    )
    graph = helper.make_graph(
        [helper.make_node("Loop", ["n", "", "zero"], ["y"], body=body)],
        "looping",
        [helper.make_tensor_value_info("n", TensorProto.INT64, [])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [])],
        [helper.make_tensor("zero", TensorProto.FLOAT, [], [0.0])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    return bytes(model.SerializeToString())


@pytest.fixture(scope="module")
def session() -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(looping(), providers=["CPUExecutionProvider"])


def turns(count: int) -> dict[str, np.ndarray]:
    return {"n": np.asarray(count, np.int64)}


def test_a_run_that_takes_too_long_is_ended_and_the_next_one_is_answered(
    session: onnxruntime.InferenceSession,
) -> None:
    watch = RunWatch(0.2)
    started = time.monotonic()

    with pytest.raises(EngineError, match=r"ended after 0\.2 s") as caught:
        watch.run(session, ["y"], turns(2**40), "m")

    assert caught.value.code == "engine.timeout"
    assert time.monotonic() - started < 10
    assert watch.run(session, ["y"], turns(3), "m")["y"] == 3


def test_what_the_engine_refuses_is_no_timeout(session: onnxruntime.InferenceSession) -> None:
    with pytest.raises(EngineError) as caught:
        RunWatch(30).run(session, ["y"], {"n": np.zeros(2, np.float32)}, "m")

    assert caught.value.code == "engine.run_failed"


def test_a_process_whose_engine_does_not_come_back_ends(tmp_path: Path) -> None:
    script = tmp_path / "stuck.py"
    script.write_text(
        "import time\n"
        "from hyperion.adapters.host.run_watch import RunWatch\n"
        "class Stuck:\n"
        "    def run(self, *_):\n"
        "        time.sleep(60)\n"
        "RunWatch(0.05, grace_s=0.05).run(Stuck(), ['y'], {}, 'm')\n"
    )

    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=50, check=False)

    assert done.returncode == STUCK_STATUS
    assert "does not end" in done.stderr
