"""The named reference: onnxruntime.quantization, called as its documentation says."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np

from benchmarks.measure import ROOT
from benchmarks.quantization.environment import torch_python
from benchmarks.quantization.recipe import Feeds

CALIBRATION_ROWS = 500
Way = Literal["dynamic int8", "MatMulNBits 4-bit", "MatMulNBits 8-bit", "static QDQ int8"]
REFERENCES: Mapping[str, Way] = {
    "int8": "dynamic int8", "w4": "MatMulNBits 4-bit", "w8": "MatMulNBits 8-bit", "static-int8": "static QDQ int8",
}  # fmt: skip
"""What each scheme is compared with."""


class PeerFailedError(RuntimeError):
    """The reference fails on this model; the message is its own."""


def quantized(model: Path, way: Way, output: Path, calibration: Feeds) -> Path:
    """The model as onnxruntime.quantization writes it, all of it in one file.

    It works in the environment that holds torch: some of it needs onnx_ir, which Hyperion does not.

    Args:
        model: The float model.
        way: See reference_child.write.
        output: The file to write.
        calibration: Rows for the static way.

    Raises:
        PeerFailedError: The quantizer fails.
        UnavailableError: Its environment cannot be made.
    """
    rows = output.with_suffix(".rows.npz")
    np.savez(rows, **{name: array[:CALIBRATION_ROWS] for name, array in calibration.items() if name != "label"})
    module = "benchmarks.quantization.reference_child"
    command = [str(torch_python()), "-m", module, str(model), way, str(output), str(rows)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise PeerFailedError(" ".join(last.rpartition(" failed:")[2].split())[:200])
    return output
