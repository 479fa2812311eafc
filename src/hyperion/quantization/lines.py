"""A weight as lines, one for each output channel or table row, read tile by tile so that it need not fit in memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hyperion.domain.scheme import W4_BLOCK

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TILE_ELEMENTS = 1 << 14
"""64 KiB of float32: what is computed from a tile stays in the processor's cache, and no array is so large that its
memory comes from the kernel and goes back there each time."""
_STEP = 2 * W4_BLOCK
"""Tiles begin at whole pairs of blocks, because zero points are packed by two."""

Tile = tuple[slice, slice]
"""Which lines, and which of their elements."""


@dataclass(frozen=True, slots=True)
class Lines:
    """The float values of a weight.

    Attributes:
        values: float32 [lines, elements]; a view of what may lie in a file.
        down: Whether the lines are the columns of what is stored.
        factors: float32 [lines] that the lines are multiplied with, or None.
    """

    values: NDArray[np.float32]
    down: bool
    factors: NDArray[np.float32] | None = None

    @property
    def count(self) -> int:
        return int(self.values.shape[0])

    @property
    def length(self) -> int:
        return int(self.values.shape[1])

    def each(self, work: Callable[[Tile, NDArray[np.float32]], None]) -> None:
        """Call ``work`` with every tile and its values [lines, elements]; in the same partition on every machine."""
        for where in self._tiles():
            work(where, self._values(where))

    def peaks(self) -> NDArray[np.float32]:
        """Largest magnitude of each line; not finite where any of its values is not."""
        import numpy as np

        found = np.zeros(self.count, np.float32)

        def look(where: Tile, tile: NDArray[np.float32]) -> None:
            peaks = np.maximum(tile.max(axis=1), -tile.min(axis=1))
            np.maximum(found[where[0]], peaks, out=found[where[0]])

        self.each(look)
        return found

    def _tiles(self) -> list[Tile]:
        lines, elements = _tile_shape(self.count, self.length, down=self.down)
        starts = [(i, j) for i in range(0, self.count, lines) for j in range(0, self.length, elements)]
        if self.down:
            starts.sort(key=lambda start: start[::-1])  # as they lie in the file
        return [
            (slice(i, min(i + lines, self.count)), slice(j, min(j + elements, self.length))) for i, j in starts
        ]  # fmt: skip

    def _values(self, where: Tile) -> NDArray[np.float32]:
        import numpy as np

        tile = np.ascontiguousarray(self.values[where])
        return tile if self.factors is None else tile * self.factors[where[0], None]


def _tile_shape(count: int, length: int, *, down: bool) -> tuple[int, int]:
    """Lines and elements of a tile that is read in as long runs of the stored matrix as can be."""
    if down:
        lines = min(count, TILE_ELEMENTS // _STEP)
        return lines, max(TILE_ELEMENTS // lines // _STEP, 1) * _STEP
    elements = min(-(-length // _STEP) * _STEP, TILE_ELEMENTS)
    return max(TILE_ELEMENTS // elements, 1), elements
