"""How far apart two models' answers are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class OutputError:
    """Sums over rows, so that slices can be added up.

    Attributes:
        squared_error: Sum of squared differences.
        squared_norm: Sum of squared float outputs.
    """

    squared_error: float = 0.0
    squared_norm: float = 0.0

    def __add__(self, other: OutputError) -> OutputError:
        return OutputError(self.squared_error + other.squared_error, self.squared_norm + other.squared_norm)

    @property
    def relative(self) -> float:
        """Root of the summed squared differences, relative to the float outputs."""
        if self.squared_norm > 0:
            return float((self.squared_error / self.squared_norm) ** 0.5)
        return 0.0 if self.squared_error == 0 else float("inf")


def output_error(expected: NDArray[Any], found: NDArray[Any]) -> OutputError:
    """How far an output is from the float model's.

    Args:
        expected: Of the float model, [rows, …]; rows that are not finite in it are left out.
        found: Of the quantized model, the same shape; rows that are not finite where ``expected`` is count as zeros.
    """
    import numpy as np

    if expected.shape != found.shape:
        return OutputError(float("inf"), 1.0)
    rows = expected.shape[0] if expected.ndim > 1 else 1
    want = expected.astype(np.float64).reshape(rows, -1)
    have = found.astype(np.float64).reshape(want.shape)
    usable = np.isfinite(want).all(axis=1)
    want, have = want[usable], have[usable]
    if not want.size:
        return OutputError()
    broken = np.asarray(~np.isfinite(have).all(axis=1))
    have = np.where(broken[:, None], 0.0, have)
    return OutputError(float(((want - have) ** 2).sum()), float((want**2).sum()))


def are_probabilities(rows: NDArray[Any]) -> bool:
    """Whether every row is a distribution: finite, not negative, with sum 1 (to 1e-3, for half precision)."""
    import numpy as np

    values = rows.astype(np.float64)
    return bool((values >= 0).all() and (np.abs(values.sum(axis=-1) - 1) < 1e-3).all())


def row_cosines(want: NDArray[Any], have: NDArray[Any]) -> NDArray[Any]:
    """Cosine of each row of two matrices; two rows of zeros agree."""
    import numpy as np

    lengths = np.linalg.norm(want, axis=1) * np.linalg.norm(have, axis=1)
    both_zero = ~want.any(axis=1) & ~have.any(axis=1)
    products = (want * have).sum(axis=1)
    cosines: NDArray[Any] = np.where(both_zero, 1.0, products / np.where(lengths > 0, lengths, 1.0))
    return cosines
