"""Labelled data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

# Only types are spoken of here: the supervisor needs no numpy, and a worker's start is waited for.
if TYPE_CHECKING:
    from hyperion.domain.loss import SetSizes
    from hyperion.domain.tensor import Signature
    from hyperion.ports.tensors import Array, Tensors


@dataclass(frozen=True, slots=True)
class Batch:
    """Consecutive rows of a dataset.

    Attributes:
        feeds: The model's inputs; padded by repeating the last row where the model's batch size is fixed.
        rows: How many of the rows are real.
        labels: What is right for each real row: int64 or text (dtype object, str), or None without labels.
        source: File that the rows come from.
        first_row: Number of the first row in that file, from 0.
    """

    feeds: Tensors
    rows: int
    labels: Array | None
    source: str
    first_row: int


class Dataset(Protocol):
    """A dataset folder, read in slices."""

    @property
    def rows(self) -> int: ...

    @property
    def has_labels(self) -> bool: ...

    def batches(self, size: int) -> Iterator[Batch]:
        """All rows in order, at most ``size`` in each batch; a batch does not span files.

        Raises:
            ConfigError: A value is not what the model takes; names file, column, row (code ``dataset.invalid``).
        """


class Datasets(Protocol):
    def open(self, folder: Path, signature: Signature) -> Dataset:
        """Look at a folder of ``*.npz`` (arrays named like the inputs, and ``label``) or ``*.csv`` files.

        Raises:
            NotFoundError: There is no such folder (code ``dataset.not_found``).
            ConfigError: It holds no data, or data that the model does not take; names every faulty file.
        """


@dataclass(frozen=True, slots=True)
class EvaluationSets:
    """Disjoint sets of rows.

    Attributes:
        calibration: What the ranges of activations are found on; None without such data.
        search: What decisions are made on.
        report: What no decision sees.
        sample: Rows of the report set, few enough to travel with the package; each class has its share.
        sizes: How many rows each has, and where they come from.
    """

    calibration: Dataset | None
    search: Dataset
    report: Dataset
    sample: Dataset
    sizes: SetSizes
