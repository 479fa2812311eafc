"""Requests that a model should accept: from its golden requests, else generated from its signature."""

from __future__ import annotations

import math

import numpy as np

from hyperion.domain.tensor import Signature, TensorSpec
from hyperion.format.package import PackageReader
from hyperion.ports import Array, Tensors
from hyperion.verification.golden import golden_names, load_golden

MAX_ELEMENTS = 64 * 1024 * 1024
"""A generated input is not made larger; a model may declare any size."""
SEED = 0


class NoRequestError(Exception):
    """No input can be made for this signature; the text says why."""


def generated_request(signature: Signature, rows: int = 1) -> dict[str, Array]:
    """One request that respects dtypes and fixed dimensions; the same on every call.

    Floats are drawn from [0, 1), integers are 1 (a valid index, token and mask nearly everywhere), text is ``a``;
    optional inputs are left out: the model's own defaults are the better guess. A free first dimension has ``rows``,
    every other free one 1.

    Raises:
        NoRequestError: An input has a type that numpy lacks, or a fixed size beyond MAX_ELEMENTS.
    """
    random = np.random.default_rng(SEED)
    return {spec.name: _generated(spec, rows, random) for spec in signature.required}


def sample_request(package: PackageReader, rows: int = 1) -> Tensors:
    """The inputs of the package's first golden request, repeated or cut to ``rows``; without one, generated.

    Raises:
        NoRequestError: As generated_request.
        MalformedPackageError: The golden request breaks the format.
    """
    names = golden_names(package)
    signature = package.manifest.signature
    if not names:
        return generated_request(signature, rows)
    inputs = load_golden(package, names[0]).inputs
    free = {spec.name for spec in signature.inputs if spec.shape and isinstance(spec.shape[0], str)}
    lengths = {len(value) for name, value in inputs.items() if name in free}
    if len(lengths) != 1 or 0 in lengths:
        return inputs
    chosen = np.arange(rows) % lengths.pop()
    return {name: value[chosen] if name in free else value for name, value in inputs.items()}


def _generated(spec: TensorSpec, rows: int, random: np.random.Generator) -> Array:
    sizes = ("",) if spec.shape is None else spec.shape
    free = [rows if axis == 0 else 1 for axis in range(len(sizes))]
    shape = [size if isinstance(size, int) else free[axis] for axis, size in enumerate(sizes)]
    if math.prod(shape) > MAX_ELEMENTS:
        raise NoRequestError(f"input {spec.name!r} {spec.describe()} is too large to generate")
    if spec.dtype in ("float16", "float32", "float64"):
        return random.random(shape).astype(spec.dtype)
    if spec.dtype == "string":
        return np.full(shape, "a", dtype=object)
    if spec.dtype in ("other", "bfloat16"):
        raise NoRequestError(f"input {spec.name!r} has the type {spec.dtype}, for which numpy has no values")
    return np.ones(shape, dtype=np.dtype(spec.dtype))
