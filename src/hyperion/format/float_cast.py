"""Floating-point numbers in the width that a model takes: numpy makes float64 unless it is told otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

WIDE = "float64"
NARROW = frozenset({"float32", "float16"})
"""What float64 is cast to; integers and text stay as they are, for a wrong one is rather a mistake than a habit."""


def is_castable(dtype: str, wanted: str) -> bool:
    """Whether numbers of ``dtype`` may be given where ``wanted`` is expected, as long as none overflows."""
    return dtype == WIDE and wanted in NARROW


def overflows(given: NDArray[Any], cast: NDArray[Any]) -> NDArray[Any]:
    """Where a finite number became infinite by the cast; bool, of the same shape."""
    import numpy as np

    found: NDArray[Any] = np.isfinite(given) & ~np.isfinite(cast)
    return found


def narrowed(given: NDArray[Any], wanted: str) -> NDArray[Any]:
    """The numbers rounded to ``wanted``; those beyond its range become infinite, which ``overflows`` tells."""
    import numpy as np

    with np.errstate(over="ignore"):
        return given.astype(wanted)
