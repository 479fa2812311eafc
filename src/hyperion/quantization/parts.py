"""What a weight is stored as in each scheme: which tensors, of which types and shapes, and rounding it into them.

The tensors of one weight are told apart by suffixes; their names in a graph are the weight's name and the suffix:

    int8, static-int8   int8, scale
    w8                  w8, w8_scale
    w4                  w4, w4_scale, w4_zero
    fp16                fp16
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hyperion.domain.manifest import WeightScheme
from hyperion.domain.scheme import W4_BLOCK
from hyperion.quantization.distortion import Distortion, Tally
from hyperion.quantization.lines import Lines, Tile
from hyperion.quantization.rounding import (
    FULL_MAX,
    REDUCED_MAX,
    UNSIGNED_ZERO,
    int8_scales,
    int8_values,
    loose_w4_blocks,
    packed,
    w8_blocks,
)
from hyperion.quantization.survey import FloatWeight

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ITEM_BYTES = {"i1": 1, "u1": 1, "<f2": 2, "<f4": 4}


@dataclass(frozen=True, slots=True)
class Part:
    """One tensor that stands for a weight or for some of it.

    Attributes:
        dtype: numpy's name, little endian.
        shape: Sizes, outermost first.
    """

    dtype: str
    shape: tuple[int, ...]

    @property
    def size_bytes(self) -> int:
        return math.prod(self.shape) * _ITEM_BYTES[self.dtype]


def parts_of(weight: FloatWeight, scheme: WeightScheme) -> dict[str, Part]:
    """The tensors of a weight by suffix; ``scheme`` is one that fits it."""
    if scheme == "fp16":
        return {"fp16": Part("<f2", weight.dims)}
    if scheme in ("w4", "w8"):
        return _block_parts(weight, scheme)
    count = weight.dims[1] if weight.down else weight.dims[0]
    if "conv" in weight.readings and scheme == "int8":  # its scales are broadcast over [outputs, …] of an activation
        return {"int8": Part("u1", weight.dims), "scale": Part("<f4", (count, *[1] * (len(weight.dims) - 2)))}
    dims = weight.dims[::-1] if is_turned(weight) else weight.dims
    return {"int8": Part("i1", dims), "scale": Part("<f4", (count, 1) if "gather" in weight.readings else (count,))}


def is_turned(weight: FloatWeight) -> bool:
    """Whether int8 stores it the other way round, as the kernels of products want it."""
    return weight.readings == {"turned"}


def _block_parts(weight: FloatWeight, scheme: WeightScheme) -> dict[str, Part]:
    lines, length = weight.dims[::-1] if weight.down else weight.dims
    blocks, size = -(-length // W4_BLOCK), W4_BLOCK // 2 if scheme == "w4" else W4_BLOCK
    shape = (lines, blocks * size) if weight.readings == {"gather"} else (lines, blocks, size)
    found = {scheme: Part("u1", shape), f"{scheme}_scale": Part("<f4", (lines, blocks))}
    return found | ({"w4_zero": Part("u1", (lines, -(-blocks // 2)))} if scheme == "w4" else {})


def round_into(
    parts: Mapping[str, NDArray[Any]],
    lines: Lines,
    weight: FloatWeight,
    scheme: WeightScheme,
    *,
    full_range: bool,
    least_scales: NDArray[np.float32] | None = None,
) -> Distortion:
    """Round a weight tile by tile.

    Args:
        parts: Arrays as ``parts_of`` describes them; filled.
        lines: Its values, finite.
        weight: How it is read.
        scheme: One that fits it.
        full_range: Whether int8 may use -127…127 where products could saturate.
        least_scales: float32 [lines] that the scales of int8 do not fall below.
    """
    if scheme == "fp16":
        return _round_half(parts["fp16"], lines)
    if scheme in ("w4", "w8"):
        return _round_blocks(parts, lines, scheme)
    unsigned = parts["int8"].dtype.kind == "u"  # kernels for unsigned weights never saturate
    largest = FULL_MAX if unsigned or full_range else REDUCED_MAX
    values = parts["int8"].T if weight.down or is_turned(weight) else parts["int8"].reshape(lines.count, -1)
    scales = int8_scales(lines.peaks(), largest)
    if least_scales is not None:
        scales = np.maximum(scales, least_scales)
    parts["scale"][...] = scales.reshape(parts["scale"].shape)
    return _round_int8(values, scales, lines, largest, UNSIGNED_ZERO if unsigned else 0)


def _round_int8(values: NDArray[Any], scales: NDArray[np.float32], lines: Lines, largest: int, zero: int) -> Distortion:
    tally = Tally()

    def work(where: Tile, tile: NDArray[np.float32]) -> None:
        steps = scales[where[0], None]
        found = int8_values(tile, steps, largest)
        values[where] = (found.astype(np.int16) + zero).astype(values.dtype) if zero else found
        tally.add(tile, found * steps)

    lines.each(work)
    return tally.result()


def _round_blocks(parts: Mapping[str, NDArray[Any]], lines: Lines, scheme: WeightScheme) -> Distortion:
    values = parts[scheme].reshape(*parts[f"{scheme}_scale"].shape, -1)
    tally = Tally()

    def work(where: Tile, tile: NDArray[np.float32]) -> None:
        found = loose_w4_blocks(tile) if scheme == "w4" else w8_blocks(tile)
        which, first = where[0], where[1].start // W4_BLOCK
        blocks = slice(first, first + found.scales.shape[1])
        values[which, blocks] = packed(found.values) if scheme == "w4" else found.values
        parts[f"{scheme}_scale"][which, blocks] = found.scales
        if scheme == "w4":
            zeros = packed(found.zero_points)
            parts["w4_zero"][which, first // 2 : first // 2 + zeros.shape[1]] = zeros
        tally.add(tile, found.restored(tile.shape[1]))

    lines.each(work)
    return tally.result()


def _round_half(half: NDArray[Any], lines: Lines) -> Distortion:
    values = half.T if lines.down else half.reshape(lines.count, -1)
    tally = Tally()

    def work(where: Tile, tile: NDArray[np.float32]) -> None:
        found = tile.astype(np.float16)
        values[where] = found
        tally.add(tile, found.astype(np.float32))

    lines.each(work)
    return tally.result()
