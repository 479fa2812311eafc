"""What the files of a dataset have in common, whatever their form."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from hyperion.ports import Array

LABEL = "label"
LabelKind = Literal["integer", "text"]


class FaultyPartError(Exception):
    """A file is not what the model takes; becomes a ConfigError that names the file."""

    def __init__(self, messages: Sequence[str]) -> None:
        super().__init__("; ".join(messages))
        self.messages = tuple(messages)


@dataclass(frozen=True, slots=True)
class Piece:
    """Consecutive rows of one file: inputs by name, and labels (int64, or object holding str) or None."""

    feeds: dict[str, Array]
    rows: int
    labels: Array | None
    first_row: int


def not_finite(value: Array) -> Literal["NaN", "infinity"] | None:
    """What of floating-point values is no number that a model could be judged on; None where all are finite."""
    if value.dtype.kind != "f" or np.isfinite(value).all():
        return None
    return "NaN" if np.isnan(value).any() else "infinity"


class Part(Protocol):
    """One file of a dataset."""

    @property
    def name(self) -> str: ...

    @property
    def rows(self) -> int: ...

    @property
    def label_kind(self) -> LabelKind | None:
        """None where the file has no labels."""

    def slices(self, size: int) -> Iterator[Piece]:
        """All rows in order, at most ``size`` at once; raises FaultyPartError at a value that is wrong."""
