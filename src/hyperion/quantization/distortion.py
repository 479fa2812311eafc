"""How far rounding moves a weight: sums that are exact, so that the figures are the same on every machine."""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BITS = 17
"""Of the integers that stand for elements: 2^18 squares of them add up to 2^52, which float64 holds exactly."""

_FLOAT32_EXPONENTS = 100
"""Powers of two up to this are exact in float32, and so are products with them that are not far below one."""
_PIECE = 8192


@dataclass(frozen=True, slots=True)
class Distortion:
    """What rounding did to one weight.

    Attributes:
        sqnr_db: Signal to quantization noise in decibels, 2 decimals; None where nothing changed.
        cosine: Between the weight before and after, 6 decimals; 1 where both are zero.
    """

    sqnr_db: float | None
    cosine: float


class Tally:
    """Adds up products of a weight and its error, tile by tile, in any order.

    A tile's elements become integers of 17 bits below its largest magnitude; their products are integers that even
    float64 adds exactly, whatever the order or the instructions.
    """

    def __init__(self) -> None:
        self._signal = self._noise = self._mixed = Fraction(0)
        self._want = self._error = np.empty(0)

    def add(self, weight: NDArray[np.float32], restored: NDArray[np.float32]) -> None:
        """One tile of up to 2^18 elements, before and after; ``restored`` is used up."""
        if self._want.size < weight.size:  # arrays of this size, made anew each time, would take most of the time
            self._want, self._error = np.empty(weight.size), np.empty(weight.size)
        want, error = self._want[: weight.size], self._error[: weight.size]
        np.subtract(weight, restored, out=restored)
        error_step = _to_integers(restored, error, restored)
        want_step = _to_integers(weight, want, restored)
        self._signal += _dot(want, want) * want_step * want_step
        self._noise += _dot(error, error) * error_step * error_step
        self._mixed += _dot(want, error) * want_step * error_step

    def result(self) -> Distortion:
        """The figures over all tiles."""
        if not self._noise:
            return Distortion(None, 1.0)
        after = self._signal - 2 * self._mixed + self._noise
        if not self._signal or after <= 0:
            return Distortion(0.0 if self._signal else None, 0.0)
        with (
            localcontext() as context
        ):  # decimal's logarithm and root are rounded correctly, the C library's need not be
            context.prec = 40
            ratio = _decimal(self._signal / self._noise)
            cosine = _decimal(self._signal - self._mixed) / _decimal(self._signal * after).sqrt()
            return Distortion(round(float(10 * ratio.log10()), 2), round(float(cosine), 6))


def _decimal(value: Fraction) -> Decimal:
    return Decimal(value.numerator) / Decimal(value.denominator)


def _to_integers(values: NDArray[np.float32], found: NDArray[np.float64], room: NDArray[np.float32]) -> Fraction:
    """Fill ``found`` with integers of up to 17 bits; returns what one of them stands for, a power of two.

    Args:
        values: What they stand for, of any shape.
        found: As many elements.
        room: Of the shape of ``values``, which it may be; what is in it is lost.
    """
    peak = max(float(values.max(initial=0.0)), -float(values.min(initial=0.0)))
    if peak == 0:
        found[:] = 0
        return Fraction(1)
    shift = _BITS - math.frexp(peak)[1]
    if abs(shift) < _FLOAT32_EXPONENTS:
        np.multiply(values, np.float32(math.ldexp(1.0, shift)), out=room)
        found[:] = np.rint(room, out=room).ravel()
    else:
        found[:] = values.ravel()
        found *= math.ldexp(1.0, shift)
        np.rint(found, out=found)
    return Fraction(2) ** -shift


def _dot(one: NDArray[np.float64], other: NDArray[np.float64]) -> int:
    """The sum of products, in pieces too small for a library to start threads for."""
    return int(sum(one[i : i + _PIECE] @ other[i : i + _PIECE] for i in range(0, one.size, _PIECE)))
