"""Tensors that a person gives to ``hyperion run``: do they fit the model, and if not, which and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from hyperion.domain.tensor import TensorSpec
from hyperion.errors import ConfigError, Problem
from hyperion.format.float_cast import is_castable, narrowed, overflows

if TYPE_CHECKING:
    from hyperion.ports import Array

_LABEL = "label"
"""An array that files of a dataset hold beside the inputs."""


def dataset_feeds(feeds: Mapping[str, Array], inputs: Sequence[TensorSpec], source: str) -> dict[str, Array]:
    """Arrays of an NPZ file as the model takes them: without labels, float64 in the width of the input.

    Raises:
        ConfigError: A number is out of range of its input; names file, array and element (code ``input.range``).
    """
    specs = {spec.name: spec for spec in inputs}
    found = {name: array for name, array in feeds.items() if name in specs or name != _LABEL}
    problems = []
    for name, array in found.items():
        spec = specs.get(name)
        if spec is None or not is_castable(array.dtype.name, spec.dtype):
            continue
        found[name] = narrowed(array, spec.dtype)
        beyond = overflows(array, found[name])
        if beyond.any():
            place = [int(axis[0]) for axis in beyond.nonzero()]
            fault = f"expected numbers in the range of {spec.dtype}, found {float(array[tuple(place)])} at {place}"
            problems.append(Problem(name, fault))
    _require_none(problems, source, "input.range")
    return found


def require_fit(feeds: Mapping[str, Array], inputs: Sequence[TensorSpec], source: str) -> None:
    """Demand tensors that the model takes, all of them that it needs and no others.

    Raises:
        ConfigError: All faults at once; names file and tensor, what was expected and found (code ``input.tensor``).
    """
    _require_none(list(_faults(feeds, inputs)), source, "input.tensor")


def not_finite(outputs: Mapping[str, Array]) -> Iterator[str]:
    """One text for each output that holds what JSON has no number for."""
    import numpy as np

    for name, array in outputs.items():
        count = array.size - int(np.isfinite(array).sum()) if array.dtype.kind == "f" else 0
        if count:
            yield f"output {name!r}: {count} of {array.size} values are NaN or infinite; in JSON they are null"


def _faults(feeds: Mapping[str, Array], inputs: Sequence[TensorSpec]) -> Iterator[Problem]:
    specs = {spec.name: spec for spec in inputs}
    for name, array in feeds.items():
        spec = specs.get(name)
        if spec is None:
            yield Problem(name, f"the model has no such input; expected {', '.join(map(repr, specs))}")
            continue
        dtype = "string" if array.dtype.kind in "OU" else array.dtype.name
        fault = spec.mismatch(dtype, array.shape)
        if fault is not None:
            yield Problem(name, f"{fault}; it is {dtype}{list(array.shape)}")
    for spec in inputs:
        if spec.name not in feeds and not spec.optional:
            yield Problem(spec.name, f"is missing: expected {spec.describe()}")


def _require_none(problems: Sequence[Problem], source: str, code: str) -> None:
    if problems:
        text = "; ".join(f"tensor {problem.path!r}: {problem.message}" for problem in problems)
        raise ConfigError(f"{source}: {text}", problems=problems, code=code)
