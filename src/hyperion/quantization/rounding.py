"""Turning float weights into few bits; numpy alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hyperion.domain.scheme import W4_BLOCK

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

REDUCED_MAX, FULL_MAX = 64, 127
"""Largest int8 weight. 2 * 255 * 64 fits in 16 bits, which is what a CPU without VNNI adds u8·s8 products in."""
UNSIGNED_ZERO = 128
_W4_MAX = 15


@dataclass(frozen=True, slots=True)
class Blocks:
    """A matrix in 4-bit blocks along its last axis.

    Attributes:
        values: uint8 [rows, blocks, 16]: two values a byte, low nibble first.
        scales: float32 [rows, blocks].
        zero_points: uint8 [rows, ceil(blocks / 2)]: packed like the values.
    """

    values: NDArray[np.uint8]
    scales: NDArray[np.float32]
    zero_points: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class LooseBlocks:
    """The same before packing, one value a byte.

    Attributes:
        values: uint8 [rows, blocks, 32].
        scales: float32 [rows, blocks].
        zero_points: uint8 [rows, blocks].
    """

    values: NDArray[np.uint8]
    scales: NDArray[np.float32]
    zero_points: NDArray[np.uint8]

    def restored(self, columns: int) -> NDArray[np.float32]:
        """float32 [rows, columns] that they stand for."""
        import numpy as np

        centred = self.values.astype(np.float32)
        centred -= self.zero_points[..., None].astype(np.float32)
        centred *= self.scales[..., None]
        return centred.reshape(len(self.values), -1)[:, :columns]

    def packed(self) -> Blocks:
        """Two values a byte."""
        return Blocks(packed(self.values), self.scales, packed(self.zero_points))


def int8_by_axis(weight: NDArray[np.float32], axis: int, largest: int) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Symmetric int8 with one scale for each index of ``axis``: ``weight ≈ values * scale``.

    Args:
        weight: float32, finite.
        axis: The axis that keeps its own scales.
        largest: Magnitude that the largest element gets.

    Returns:
        Values of the weight's shape, and scales [size of ``axis``]; an index with zeros alone has scale 1.
    """
    import numpy as np

    others = tuple(index for index in range(weight.ndim) if index != axis % weight.ndim)
    scales = int8_scales(np.abs(weight).max(axis=others, keepdims=True, initial=0.0), largest)
    return int8_values(weight, scales, largest), scales.reshape(-1)


def int8_scales(peaks: NDArray[np.float32], largest: int) -> NDArray[np.float32]:
    """The scale for each peak; that of zeros alone is 1."""
    import numpy as np

    scales = np.where(peaks > 0, peaks / np.float32(largest), np.float32(1)).astype(np.float32)
    # A scale may round down to 0 for subnormal peaks: such weights are as good as zero.
    return np.where(scales > 0, scales, np.float32(1))


def int8_values(weight: NDArray[np.float32], scales: NDArray[np.float32], largest: int) -> NDArray[np.int8]:
    """``weight`` in steps of ``scales``, which are broadcast over it."""
    import numpy as np

    steps = weight / scales
    np.rint(steps, out=steps)
    np.clip(steps, -largest, largest, out=steps)
    return steps.astype(np.int8)


def w4_blocks(weight: NDArray[np.float32]) -> Blocks:
    """Asymmetric 4-bit blocks along the last axis: ``weight ≈ (values - zero_point) * scale``.

    Args:
        weight: float32 [rows, columns], finite; columns are padded with zeros to whole blocks.
    """
    return loose_w4_blocks(weight).packed()


def loose_w4_blocks(weight: NDArray[np.float32]) -> LooseBlocks:
    """As w4_blocks, before packing."""
    import numpy as np

    grouped = _grouped(weight)
    low, high = np.minimum(grouped.min(axis=2), 0), np.maximum(grouped.max(axis=2), 0)
    scales = ((high - low) / np.float32(_W4_MAX)).astype(np.float32)
    scales = np.where(scales > 0, scales, np.float32(1))
    zeros = np.clip(np.rint(-low / scales), 0, _W4_MAX)
    steps = grouped / scales[..., None]
    np.rint(steps, out=steps)
    steps += zeros[..., None]
    np.clip(steps, 0, _W4_MAX, out=steps)
    return LooseBlocks(steps.astype(np.uint8), scales, zeros.astype(np.uint8))


def w8_blocks(weight: NDArray[np.float32]) -> LooseBlocks:
    """Symmetric 8-bit blocks along the last axis: ``weight ≈ (values - 128) * scale``; as w4_blocks otherwise."""
    import numpy as np

    grouped = _grouped(weight)
    peaks = np.maximum(grouped.max(axis=2), -grouped.min(axis=2))
    scales = int8_scales(peaks, FULL_MAX)
    steps = grouped / scales[..., None]
    np.rint(steps, out=steps)
    np.clip(steps, -FULL_MAX, FULL_MAX, out=steps)
    steps += np.float32(UNSIGNED_ZERO)
    # Kernels take 128 times the sum of activations off again: with scale 0, a block of zeros is free of that rounding.
    scales = np.where(peaks > 0, scales, np.float32(0))
    return LooseBlocks(steps.astype(np.uint8), scales, np.full(scales.shape, UNSIGNED_ZERO, np.uint8))


def _grouped(weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """float32 [rows, blocks, 32], padded with zeros."""
    import numpy as np

    rows, columns = weight.shape
    blocks = -(-columns // W4_BLOCK)
    if columns == blocks * W4_BLOCK:
        return weight.reshape(rows, blocks, W4_BLOCK)
    padded = np.zeros((rows, blocks * W4_BLOCK), np.float32)
    padded[:, :columns] = weight
    return padded.reshape(rows, blocks, W4_BLOCK)


def packed(values: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Two 4-bit values a byte along the last axis, low nibble first; an odd end is filled with 0."""
    import numpy as np

    if values.shape[-1] % 2:
        values = np.concatenate([values, np.zeros((*values.shape[:-1], 1), np.uint8)], axis=-1)
    return np.asarray(values[..., 0::2] | (values[..., 1::2] << 4), np.uint8)
