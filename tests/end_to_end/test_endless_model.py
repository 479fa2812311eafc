"""A model that never answers: Ctrl-C and SIGTERM end its packaging, and leave nothing."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tests.end_to_end.shell import Shell

ENDLESS, SHORT = 1e12, 1.0


def endless(tmp_path: Path, *golden: float) -> Path:
    """A model directory whose model loops as often as its largest input says, with golden requests of such inputs."""
    state = [helper.make_tensor_value_info("go", TensorProto.BOOL, []), _float("s", None)]
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["go_on"]), helper.make_node("Add", ["s", "one"], ["sum"])],
        "body",
        [helper.make_tensor_value_info("i", TensorProto.INT64, []), *state],
        [helper.make_tensor_value_info("go_on", TensorProto.BOOL, []), _float("sum", None)],
        [numpy_helper.from_array(np.ones(1, np.float32), "one")],
    )
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "weight"], ["h"], name="fc"),
            helper.make_node("ReduceMax", ["x"], ["largest"], keepdims=0),
            helper.make_node("Cast", ["largest"], ["times"], to=TensorProto.INT64),
            helper.make_node("Loop", ["times", "true", "h"], ["y"], body=body),
        ],
        "endless",
        [_float("x", ["batch", 64])],
        [_float("y", ["batch", 64])],
        [
            numpy_helper.from_array(np.ones((64, 64), np.float32), "weight"),
            numpy_helper.from_array(np.array(True), "true"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    source = tmp_path / "endless"
    (source / "golden").mkdir(parents=True)
    onnx.save(model, source / "model.onnx")
    for number, largest in enumerate(golden):
        request = {"inputs": {"x": [[largest] * 64]}, "outputs": {"y": [[2.0] * 64]}}
        (source / "golden" / f"sample{number}.json").write_text(json.dumps(request))
    return source


def _float(name: str, shape: list[str | int] | None) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["INT", "TERM"])
@pytest.mark.parametrize(
    ("golden", "quantize", "stage"),
    [
        ([ENDLESS], "auto", ""),  # at once, whatever it does
        ([ENDLESS], "auto", "Trying the model out"),  # the first request runs in a child
        ([SHORT, ENDLESS], "auto", "Quantizing"),
        ([SHORT, ENDLESS], "none", "Proving"),
    ],
)
def test_a_signal_ends_packaging_while_the_engine_runs(
    workspace: Shell, tmp_path: Path, golden: list[float], quantize: str, stage: str, number: signal.Signals
) -> None:
    source, output = endless(tmp_path, *golden), tmp_path / "output" / "f.hyperion"
    output.parent.mkdir()
    process = workspace.start("package", "model", "--input", source, "--output", output, "--quantize", quantize)
    assert process.stderr is not None
    said = process.stderr.readline()
    while stage not in said:
        said += process.stderr.readline()
        assert process.poll() is None, said

    process.send_signal(number)
    _, err = process.communicate(timeout=60)

    assert process.returncode == (130 if number == signal.SIGINT else 143), err
    assert "Traceback" not in err
    assert list(output.parent.iterdir()) == []
