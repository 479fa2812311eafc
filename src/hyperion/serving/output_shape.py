"""Shapes that a model's outputs must have: what its signature says, where the golden requests show that it holds.

A signature may be careless (exporters name dimensions alike that are not), so nothing is demanded that the golden
requests do not bear out: a size that is shared with an input counts only where it was seen to be other than 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from hyperion.domain.tensor import TensorSpec
from hyperion.ports import Tensors
from hyperion.verification.golden import Golden

Size: TypeAlias = int | tuple[str, int] | None
"""A fixed size, an input's name and axis that has the same size, or nothing that is known."""
Shape: TypeAlias = tuple[Size, ...]


def proven_shapes(
    inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], goldens: Sequence[Golden]
) -> dict[str, Shape]:
    """What holds for each output in all golden requests; outputs that none of them has are left out."""
    given = {size: (spec.name, axis) for spec in inputs for axis, size in enumerate(spec.shape or ())}
    found: dict[str, Shape] = {}
    for spec in outputs:
        answers = [golden for golden in goldens if spec.name in golden.outputs]
        if spec.shape is None or not answers:
            continue
        if any(np.ndim(golden.outputs[spec.name]) != len(spec.shape) for golden in answers):
            continue
        declared = [size if isinstance(size, int) else given.get(size) if size else None for size in spec.shape]
        found[spec.name] = tuple(
            size if _holds(size, axis, spec.name, answers) else None for axis, size in enumerate(declared)
        )
    return found


def misshapen(expected: Shape, shape: Sequence[int], feeds: Tensors) -> str | None:
    """Why an output of this shape is not what the model promised for these inputs; None where it is."""
    if len(shape) != len(expected):
        return f"expected {len(expected)} dimensions, found {list(shape)}"
    for axis, (size, found) in enumerate(zip(expected, shape, strict=True)):
        wanted = _size(size, feeds)
        if wanted is not None and wanted != found:
            return f"expected size {wanted} in dimension {axis}, found {list(shape)}"
    return None


def _holds(size: Size, axis: int, name: str, answers: Sequence[Golden]) -> bool:
    found = [(_size(size, golden.inputs), np.shape(golden.outputs[name])[axis]) for golden in answers]
    borne_out = isinstance(size, int) or any(wanted not in (None, 1) for wanted, _ in found)
    return borne_out and all(wanted in (None, have) for wanted, have in found)


def _size(size: Size, feeds: Tensors) -> int | None:
    if not isinstance(size, tuple):
        return size
    name, axis = size
    return int(np.shape(feeds[name])[axis]) if name in feeds else None
