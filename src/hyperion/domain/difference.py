"""How far weights are apart."""

from __future__ import annotations

import math

from hyperion.domain.document import Document


class Difference(Document):
    """Of the values of B from those of A, dequantized; a figure that cannot be had is null."""

    max_abs: float | None = None
    """Largest |b - a|."""
    mean_abs: float | None = None
    """Mean |b - a|."""
    sqnr_db: float | None = None
    """10 · log10(Σ a² / Σ (b - a)²): what B keeps of A, in decibels; 6 dB are about one bit."""
    sqnr_unavailable: str | None = None
    """Why ``sqnr_db`` is null although the others are not."""
    unavailable: str | None = None
    """Why there are no figures."""


SAME = Difference(max_abs=0.0, mean_abs=0.0, sqnr_unavailable="there is no difference")
"""Of what has the same bytes."""


class StoredForm(Document):
    """How a weight is stored."""

    scheme: str
    dtype: str
    """Element type as safetensors names it."""
    bits: int
    """Of one stored value."""
    shape: tuple[int, ...]
    """In the float model; where only manifests were read, as stored."""

    @property
    def values(self) -> int:
        return math.prod(self.shape)


class WeightDifference(Document):
    """One weight of both packages."""

    name: str
    before: StoredForm | None
    """None where A has no such weight."""
    after: StoredForm | None
    """None where B has no such weight."""
    renamed_from: str | None = None
    """What A calls it, where that is another name: it has the same shape and place in its layer."""
    difference: Difference
