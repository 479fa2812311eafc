"""Tables that a model holds twice, to look rows up and for a product with them, as exporters write tied weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hyperion.quantization.survey import FloatWeight

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnx import TensorProto

_ROWS = 256
"""Compared at once."""


def find_twins(weights: Sequence[FloatWeight], read: Callable[[TensorProto], NDArray[Any]]) -> dict[str, str]:
    """Key of a matrix that products read → key of the table of the outermost graph that holds the same values."""
    tables = [item for item in weights if item.readings == {"gather"} and item.key == item.tensor.name]
    found = {}
    for weight in weights:
        if weight.readings not in ({"matmul"}, {"turned"}) or weight.fault or weight.factor != 1:
            continue
        dims = weight.dims[::-1] if weight.down else weight.dims
        for table in tables:
            if table.dims == dims and not table.fault and _alike(table, weight, read):
                found[weight.key] = table.key
                break
    return found


def _alike(table: FloatWeight, weight: FloatWeight, read: Callable[[TensorProto], NDArray[Any]]) -> bool:
    import numpy as np

    one, other = read(table.tensor), read(weight.tensor)
    other = other.T if weight.down else other
    return all(
        np.array_equal(one[start : start + _ROWS], other[start : start + _ROWS]) for start in range(0, len(one), _ROWS)
    )


def joined(table: FloatWeight, twin: FloatWeight) -> FloatWeight:
    """The table with the readers of both, to which it is the other one turned round."""
    return replace(table, readers=table.readers + tuple(replace(reader, reading="turned") for reader in twin.readers))
