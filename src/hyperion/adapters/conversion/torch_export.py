"""PyTorch → ONNX through torch.export, and the check that both compute the same; runs in the converting child only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hyperion.errors import ModelSourceError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnxruntime import InferenceSession

OPSET = 18
"""What torch's exporter itself writes; schemes raise it."""
LARGEST_DIFFERENCE = 1e-3
"""Of any output, as a share of its largest magnitude; single-precision rounding stays below 1e-5."""


def save_program(program: Any, model: Path) -> None:
    """Write what torch.onnx.export made; the weights go into a file beside the model."""
    program.save(str(model), external_data=True)


def open_session(model: Path) -> InferenceSession:
    """The written model in the engine."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


def largest_difference(
    session: InferenceSession, feeds: Mapping[str, NDArray[Any]], expected: Sequence[NDArray[Any]], source: Path
) -> float:
    """The largest difference of any output, as a share of the output's largest magnitude.

    Raises:
        ModelSourceError: It is beyond what rounding explains (code ``model_source.conversion_differs``).
    """
    import numpy as np

    found = session.run(None, dict(feeds))
    shares = [0.0]
    for output, wanted, given in zip(session.get_outputs(), expected, found, strict=True):
        if wanted.shape != given.shape:
            raise _differs(source, f"the output {output.name!r} has the shape {given.shape}, not {wanted.shape}")
        if wanted.size:
            largest = float(np.abs(wanted.astype(np.float64)).max()) or 1.0
            shares.append(float(np.abs(wanted.astype(np.float64) - given).max()) / largest)
    if not max(shares) <= LARGEST_DIFFERENCE:
        raise _differs(source, f"outputs differ by {max(shares):.1g} of their largest magnitude")
    return max(shares)


def _differs(source: Path, what: str) -> ModelSourceError:
    return ModelSourceError(
        f"{source}: the converted model answers otherwise than PyTorch: {what}",
        hint="export model.onnx where it was made, and compare it there",
        code="model_source.conversion_differs",
    )
