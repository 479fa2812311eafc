"""One case, by plain ONNX Runtime and through a package: are the answers the same, bit for bit?"""

from __future__ import annotations

import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx

import hyperion
from tests.onnx_backend.cases import BackendCase, Feeds

Outcome = Literal["equal", "not counted", "different"]


@dataclass(frozen=True)
class Trial:
    """What became of one case.

    Attributes:
        case: Its kind and name.
        outcome: ``not counted`` where plain ONNX Runtime gives no answer to compare with.
        reason: Why it is not counted, or how it differs; empty where it is equal.
    """

    case: str
    outcome: Outcome
    reason: str = ""


def try_batch(cases: list[BackendCase]) -> list[Trial]:
    """Some cases, one after the other, in a process of their own."""
    trials = []
    with tempfile.TemporaryDirectory(prefix="onnx-backend-") as folder:
        os.environ["HYPERION_HOME"] = str(Path(folder) / "state")
        for index, case in enumerate(cases):
            place = Path(folder) / str(index)
            place.mkdir()
            trials.append(try_case(case, place))
    return trials


class UncountedError(Exception):
    """Plain ONNX Runtime gives no answer to compare with."""


def try_case(case: BackendCase, folder: Path) -> Trial:
    """Run a case both ways.

    Args:
        case: The case.
        folder: An empty one; HYPERION_HOME should lie elsewhere.
    """
    try:
        wanted = plain_answers(case)
    except UncountedError as error:
        return Trial(str(case), "not counted", str(error))
    try:
        found = packaged_answers(case, folder)
    except hyperion.HyperionError as error:
        return Trial(str(case), "different", f"{type(error).__name__} {error.code}: {error.message}")
    faults = [fault for ours, plain in zip(found, wanted, strict=True) if (fault := difference(plain, ours))]
    return Trial(str(case), "different", faults[0]) if faults else Trial(str(case), "equal")


def plain_answers(case: BackendCase) -> list[Feeds]:
    """What ONNX Runtime answers on its own: all outputs, by name, for each data set.

    Raises:
        UncountedError: It refuses the model or its inputs, a value is no array, or it answers anew each time.
    """
    for feeds in case.feeds:
        if wrong := {type(value).__name__ for value in feeds.values() if not isinstance(value, np.ndarray)}:
            raise UncountedError(f"an input is no array but a {', '.join(sorted(wrong))}")
    first, second = (_answers_of_a_session(case) for _ in range(2))
    for answers, again in zip(first, second, strict=True):
        if wrong := {type(value).__name__ for value in answers.values() if not isinstance(value, np.ndarray)}:
            raise UncountedError(f"an output is no array but a {', '.join(sorted(wrong))}")
        if difference(answers, again):
            raise UncountedError("two sessions of ONNX Runtime itself answer differently")
    return first


def _answers_of_a_session(case: BackendCase) -> list[Feeds]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(
            case.model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # whatever it says, there is no answer
        raise UncountedError(f"ONNX Runtime does not load it: {_short(error)}") from error
    names = [output.name for output in session.get_outputs()]
    try:
        return [dict(zip(names, session.run(names, feeds), strict=True)) for feeds in case.feeds]
    except Exception as error:
        raise UncountedError(f"ONNX Runtime does not run it: {_short(error)}") from error


def _short(error: Exception) -> str:
    """The engine's code, and where it has none what it says without numbers and names."""
    code = re.search(r"\d+ : (\w+) :", str(error))
    return code[1] if code else re.sub(r"[\d'\"]+.*", "", str(error))[:60].strip() or type(error).__name__


def packaged_answers(case: BackendCase, folder: Path) -> list[Feeds]:
    """What the packaged model answers.

    Raises:
        HyperionError: Packaging, loading or running is refused.
    """
    source, output = folder / "model", folder / "model.hyperion"
    source.mkdir()
    onnx.save(case.model, source / "model.onnx")
    hyperion.package(source, output, quantize="none")
    model = hyperion.load_model(output)
    return [model.run(feeds) for feeds in case.feeds]


def difference(wanted: Feeds, found: Feeds) -> str | None:
    """How two answers differ, or None: names and their order, dtypes, shapes and every bit, NaN equal to NaN."""
    if list(wanted) != list(found):
        return f"outputs {list(found)}, expected {list(wanted)}"
    for name, plain in wanted.items():
        ours = found[name]
        if (ours.dtype, ours.shape) != (plain.dtype, plain.shape):
            return f"{name!r} is {ours.dtype}{list(ours.shape)}, expected {plain.dtype}{list(plain.shape)}"
        if not _same(plain, ours):
            return f"{name!r} has other values, {_distance(plain, ours)}"
    return None


def _same(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two arrays of one dtype and shape hold the same bits, any NaN being equal to any other."""
    if one.dtype.kind == "O":
        return np.array_equal(one, other)
    if one.dtype.kind not in "fc":
        return one.tobytes() == other.tobytes()
    signs = [np.signbit(part) for array in (one, other) for part in (array.real, array.imag)]
    zeros = one == 0  # 0.0 and -0.0 are equal numbers, but not the same bits
    same_zeros = all(np.array_equal(a[zeros], b[zeros]) for a, b in zip(signs[:2], signs[2:], strict=True))
    return np.array_equal(one, other, equal_nan=True) and same_zeros


def _distance(one: Any, other: Any) -> str:
    if one.dtype.kind not in "fiub":
        return f"{other!r} instead of {one!r}"[:200]
    return f"largest difference {float(np.nanmax(np.abs(one.astype(np.float64) - other.astype(np.float64)))):.3g}"
