"""The rows that a model is calibrated, chosen and judged on: three disjoint sets of a dataset folder, or of several."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from hyperion.domain.loss import SetSizes
from hyperion.domain.quantization_policy import EvaluationData
from hyperion.domain.tensor import Signature
from hyperion.errors import ConfigError
from hyperion.ports import Batch, Dataset, Datasets, EvaluationSets, Reporter, Tensors
from hyperion.quantization.sets import SETS, Row, draw

FEWEST_ROWS = 10
"""A search or report set below this tells nothing."""
READ_ROWS = 64
SAMPLE_ROWS, SAMPLE_BYTES = 256, 8 * 1024**2
"""Of the report set, what a package carries at most."""
HELD_BYTES = 64 * 1024**2
"""A set up to this size is kept in memory; a larger one is read again for every trial."""


def open_sets(
    datasets: Datasets, data: EvaluationData, base: Path, signature: Signature, seed: int, reporter: Reporter
) -> EvaluationSets:
    """Draw the sets.

    Args:
        datasets: Opens folders.
        data: Which folders, and how they are split.
        base: What relative folders are relative to.
        signature: Of the model.
        seed: Of the draw.
        reporter: Where progress and too little data are told.

    Raises:
        NotFoundError: There is no such folder (code ``dataset.not_found``).
        ConfigError: A folder holds what the model does not take; names file and row (code ``dataset.invalid``). Or
            there are too few rows (code ``quantize.too_little_data``).
    """
    own = {name: folder for name in SETS if (folder := getattr(data, name)) is not None}
    shared = [name for name in SETS if name not in own] if data.folder is not None else []
    with reporter.stage("Drawing calibration, search and report sets"):
        found: dict[str, _Drawn] = {}
        for name, folder in own.items():
            dataset = datasets.open(base / folder, signature)
            rows = _rows_of(dataset)
            found[name] = _Drawn(dataset, rows, draw(rows, {name: 1.0}, seed)[name])
        if data.folder is not None and shared:
            dataset = datasets.open(base / data.folder, signature)
            rows = _rows_of(dataset)
            for name, positions in draw(rows, _shares(data, shared), seed).items():
                found[name] = _Drawn(dataset, rows, positions)
        folders = {id(drawn.rows): drawn.rows for drawn in found.values()}.values()
        total = sum(len(rows) for rows in folders)
        repeated = total - sum(len({row.digest for row in rows}) for rows in folders)
        twice = _keep_apart(found)
    if repeated:
        reporter.warn(
            f"{repeated} of {total} rows are repeated: each counts again, so the interval of the loss is narrower than "
            "the data allow"
        )
    if twice:
        reporter.warn(f"rows that stand in the folders of several sets are left out of all but one: {twice}")
    sets = {name: RowSet(drawn.dataset, drawn.positions, signature) for name, drawn in found.items()}
    for name in ("search", "report"):
        if name not in sets or sets[name].rows < FEWEST_ROWS:
            raise _too_little(name, sets[name].rows if name in sets else 0, total)
    sizes = SetSizes(
        source=", ".join([*([data.folder] if data.folder is not None else []), *own.values()]),
        calibration=sets["calibration"].rows if "calibration" in sets else 0,
        search=sets["search"].rows,
        report=sets["report"].rows,
        labelled=sets["search"].has_labels and sets["report"].has_labels,
        left_out=total - sum(item.rows for item in sets.values()),
    )
    sample = RowSet(found["report"].dataset, _sample(found["report"], sets["report"], seed), signature)
    return EvaluationSets(sets.get("calibration"), sets["search"], sets["report"], sample, sizes)


class RowSet:
    """Some rows of a dataset; implements ports.Dataset."""

    def __init__(self, dataset: Dataset, positions: Sequence[int], signature: Signature) -> None:
        self._dataset, self._positions = dataset, tuple(positions)
        self._fixed = _fixed_batch(signature)
        self._held: dict[int, tuple[Batch, ...]] = {}

    @property
    def rows(self) -> int:
        return len(self._positions)

    @property
    def has_labels(self) -> bool:
        return self._dataset.has_labels

    def batches(self, size: int) -> Iterator[Batch]:
        """The rows in the dataset's order, ``size`` at once where their shapes and files allow it."""
        if size in self._held:
            yield from self._held[size]
            return
        held: list[Batch] | None = []
        total = 0
        for batch in self._joined(self._fixed or size):
            total += sum(value.nbytes for value in batch.feeds.values())
            held = held if held is not None and total <= HELD_BYTES else None
            if held is not None:
                held.append(batch)
            yield batch
        if held is not None:
            self._held[size] = tuple(held)

    def _joined(self, size: int) -> Iterator[Batch]:
        pending = _Pending(size, padded=self._fixed is not None)
        wanted = iter(self._positions)
        position, first = next(wanted, None), 0
        for batch in self._dataset.batches(READ_ROWS):
            chosen = []
            while position is not None and position < first + batch.rows:
                chosen.append(position - first)
                position = next(wanted, None)
            first += batch.rows
            yield from pending.add(batch, chosen)
        yield from pending.rest()


@dataclass(slots=True)
class _Drawn:
    dataset: Dataset
    rows: Sequence[Row]
    positions: tuple[int, ...]


@dataclass(slots=True)
class _Pending:
    """Rows that wait until there are enough of one file and shape for a batch."""

    size: int
    padded: bool
    pieces: list[Batch] = field(default_factory=list)

    def add(self, batch: Batch, chosen: list[int]) -> Iterator[Batch]:
        while chosen:
            if self.pieces and not _fit(self.pieces[0], batch):
                yield from self.rest()
            count = self.size - sum(piece.rows for piece in self.pieces)
            self.pieces.append(_picked(batch, chosen[:count]))
            chosen = chosen[count:]
            if sum(piece.rows for piece in self.pieces) == self.size:
                yield from self.rest()

    def rest(self) -> Iterator[Batch]:
        import numpy as np

        if not self.pieces:
            return
        first, rows = self.pieces[0], sum(piece.rows for piece in self.pieces)
        feeds = {}
        for name, value in first.feeds.items():
            joined = np.concatenate([piece.feeds[name] for piece in self.pieces]) if value.ndim else value
            if self.padded and value.ndim and rows < self.size:
                joined = np.concatenate([joined, np.repeat(joined[-1:], self.size - rows, axis=0)])
            feeds[name] = joined
        labels = [piece.labels for piece in self.pieces if piece.labels is not None]
        yield Batch(feeds, rows, np.concatenate(labels) if labels else None, first.source, first.first_row)
        self.pieces = []


def _sample(report: _Drawn, rows: RowSet, seed: int) -> tuple[int, ...]:
    """Positions of the rows of the report set that travel with the package: each class its share."""
    first = next(rows.batches(1))
    row_bytes = sum(value.nbytes for value in first.feeds.values())
    most = {"report": max(1, min(SAMPLE_ROWS, SAMPLE_BYTES // max(1, row_bytes)))}
    chosen = [report.rows[position] for position in report.positions]
    drawn = draw(chosen, {"report": 1.0}, seed, most)["report"][: most["report"]]
    return tuple(report.positions[index] for index in drawn)


def _fit(one: Batch, other: Batch) -> bool:
    return one.source == other.source and all(
        value.shape[1:] == other.feeds[name].shape[1:] for name, value in one.feeds.items()
    )


def _picked(batch: Batch, chosen: list[int]) -> Batch:
    feeds = {name: value[chosen] if value.ndim else value for name, value in batch.feeds.items()}
    labels = None if batch.labels is None else batch.labels[chosen]
    return Batch(feeds, len(chosen), labels, batch.source, batch.first_row + chosen[0])


def _rows_of(dataset: Dataset) -> list[Row]:
    found: list[Row] = []
    for batch in dataset.batches(READ_ROWS):
        labels = [None] * batch.rows if batch.labels is None else batch.labels.tolist()
        found += [Row(_digest(batch.feeds, row), labels[row]) for row in range(batch.rows)]
    return found


def _digest(feeds: Tensors, row: int) -> bytes:
    state = sha256()
    for name, value in sorted(feeds.items()):
        cells = value[row] if value.ndim else value
        state.update(f"{name}{cells.shape}".encode())
        state.update(repr(cells.tolist()).encode() if cells.dtype == object else cells.tobytes())
    return state.digest()


def _shares(data: EvaluationData, names: Sequence[str]) -> dict[str, float]:
    """Of the sets that come from the common folder; together they are all of it."""
    whole = {
        "calibration": data.calibration_share,
        "search": data.search_share,
        "report": 1 - data.calibration_share - data.search_share,
    }
    total = sum(whole[name] for name in names)
    return {name: whole[name] / total for name in names}


def _keep_apart(found: dict[str, _Drawn]) -> int:
    """Take rows out of sets where another folder's set has the same ones; report keeps them, then search."""
    taken: set[bytes] = set()
    count = 0
    for name in reversed(SETS):
        if name not in found:
            continue
        drawn = found[name]
        kept = tuple(position for position in drawn.positions if drawn.rows[position].digest not in taken)
        count += len(drawn.positions) - len(kept)
        drawn.positions = kept
        taken.update(drawn.rows[position].digest for position in kept)
    return count


def _fixed_batch(signature: Signature) -> int | None:
    return next((s.shape[0] for s in signature.required if s.shape and isinstance(s.shape[0], int)), None)


def _too_little(name: str, rows: int, total: int) -> ConfigError:
    return ConfigError(
        f"the {name} set has {rows} rows of the {total} that there are; at least {FEWEST_ROWS} are needed",
        hint="give more rows, or other shares in config/quantization.json; 200 rows tell a loss of 2 points from none",
        code="quantize.too_little_data",
    )
