"""The rows that forms of a model are compared on: drawn from data, or golden requests and generated inputs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hyperion.adapters.onnx.samples import Samples, rows_of
from hyperion.domain.loss import GENERATED, SetSizes
from hyperion.ports import Batch, Dataset, EvaluationSets, Tensors

CALIBRATION_BYTES = 64 * 1024**2
_CALIBRATION_SLICE = 16


@dataclass(frozen=True, slots=True)
class EvaluationRows:
    """Where rows come from.

    Attributes:
        calibration: Inputs to find the ranges of activations on.
        search: What decisions are made on.
        report: What no decision sees; the search set again where there are no data.
        sample: What travels with the package.
        sizes: How many there are.
        golden: How many rows of the search set are golden requests; 0 with data.
        unavailable: Why there are no generated inputs, or None.
    """

    calibration: tuple[Tensors, ...]
    search: Dataset
    report: Dataset
    sample: Dataset
    sizes: SetSizes
    golden: int = 0
    unavailable: str | None = None

    @property
    def from_data(self) -> bool:
        return self.sizes.is_data


def rows_of_sets(sets: EvaluationSets) -> EvaluationRows:
    """The sets that were drawn from data; of the calibration set as much as suits memory."""
    calibration: list[Tensors] = []
    room = CALIBRATION_BYTES
    for batch in sets.calibration.batches(_CALIBRATION_SLICE) if sets.calibration is not None else ():
        room -= sum(value.nbytes for value in batch.feeds.values())
        if calibration and room < 0:
            break
        calibration.append(batch.feeds)
    return EvaluationRows(tuple(calibration), sets.search, sets.report, sets.sample, sets.sizes)


def rows_of_samples(samples: Samples) -> EvaluationRows:
    """One set for everything, for want of data; golden requests are real inputs, so they calibrate too."""
    rows = SampleRows(samples.feeds)
    golden = sum(rows_of(feeds) for feeds in samples.feeds[: samples.golden])
    sizes = SetSizes(source=GENERATED, calibration=golden, search=rows.rows, report=rows.rows, labelled=False)
    calibration = samples.feeds[: samples.golden]
    return EvaluationRows(calibration, rows, rows, rows, sizes, golden, samples.unavailable)


class SampleRows:
    """Calls that were made up or recorded, as a dataset without labels; implements ports.Dataset."""

    def __init__(self, feeds: Sequence[Tensors]) -> None:
        self._feeds = tuple(feeds)

    @property
    def rows(self) -> int:
        return sum(rows_of(feeds) for feeds in self._feeds)

    @property
    def has_labels(self) -> bool:
        return False

    def batches(self, size: int) -> Iterator[Batch]:  # noqa: ARG002  (calls are as long as they were made)
        """Every call is a batch."""
        for feeds in self._feeds:
            yield Batch(feeds, rows_of(feeds), None, GENERATED, 0)
