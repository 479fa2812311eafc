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
    peaks = np.abs(weight).max(axis=others, keepdims=True, initial=0.0)
    scales = np.where(peaks > 0, peaks / np.float32(largest), np.float32(1)).astype(np.float32)
    # A scale may round down to 0 for subnormal peaks: such weights are as good as zero.
    scales = np.where(scales > 0, scales, np.float32(1))
    values = np.clip(np.rint(weight / scales), -largest, largest).astype(np.int8)
    return values, scales.reshape(-1)


def w4_blocks(weight: NDArray[np.float32]) -> Blocks:
    """Asymmetric 4-bit blocks along the last axis: ``weight ≈ (values - zero_point) * scale``.

    Args:
        weight: float32 [rows, columns], finite; columns are padded with zeros to whole blocks.
    """
    import numpy as np

    rows, columns = weight.shape
    blocks = -(-columns // W4_BLOCK)
    padded = np.zeros((rows, blocks * W4_BLOCK), np.float32)
    padded[:, :columns] = weight
    grouped = padded.reshape(rows, blocks, W4_BLOCK)
    low, high = np.minimum(grouped.min(axis=2), 0), np.maximum(grouped.max(axis=2), 0)
    scales = ((high - low) / np.float32(_W4_MAX)).astype(np.float32)
    scales = np.where(scales > 0, scales, np.float32(1))
    zeros = np.clip(np.rint(-low / scales), 0, _W4_MAX)
    values = np.clip(np.rint(grouped / scales[..., None]) + zeros[..., None], 0, _W4_MAX).astype(np.uint8)
    return Blocks(packed(values), scales, packed(zeros.astype(np.uint8)))


def packed(values: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Two 4-bit values a byte along the last axis, low nibble first; an odd end is filled with 0."""
    import numpy as np

    if values.shape[-1] % 2:
        values = np.concatenate([values, np.zeros((*values.shape[:-1], 1), np.uint8)], axis=-1)
    return np.asarray(values[..., 0::2] | (values[..., 1::2] << 4), np.uint8)
