"""Dataset folders: ``*.npz`` and ``*.csv`` files, checked when opened, read in slices, never all at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from hyperion.adapters.dataset.csv_file import CsvPart
from hyperion.adapters.dataset.npz_file import NpzPart
from hyperion.adapters.dataset.part import LABEL, FaultyPartError, Part
from hyperion.domain.tensor import Signature
from hyperion.errors import ConfigError, NotFoundError, Problem
from hyperion.ports import Array, Batch, Dataset

_KINDS: dict[str, Callable[[Path, Signature], Part]] = {".npz": NpzPart, ".csv": CsvPart}


class LocalDatasets:
    """Implements ports.Datasets."""

    def open(self, folder: Path, signature: Signature) -> Dataset:
        """See ports.Datasets.open."""
        if not folder.is_dir():
            found = "it is a file" if folder.exists() else "there is nothing"
            raise NotFoundError(
                f"{folder}: a dataset is a folder, but {found}",
                hint="make a folder with *.npz (arrays named like the inputs, and 'label') or *.csv files",
                code="dataset.not_found",
            )
        names = sorted(path.name for path in folder.iterdir() if path.suffix in _KINDS)
        if not names:
            raise ConfigError(f"{folder} holds neither *.npz nor *.csv files", hint=_layout(signature), code=INVALID)
        parts: list[Part] = []
        problems: list[Problem] = []
        for name in names:
            try:
                parts.append(_KINDS[Path(name).suffix](folder / name, signature))
            except FaultyPartError as fault:
                problems.extend(Problem(name, message) for message in fault.messages)
        problems.extend(_disagreements(parts))
        if problems:
            raise _invalid(folder, problems, signature)
        return _LocalDataset(folder, parts, signature)


INVALID = "dataset.invalid"


class _LocalDataset:
    def __init__(self, folder: Path, parts: Sequence[Part], signature: Signature) -> None:
        self._folder, self._parts, self._signature = folder, parts, signature

    @property
    def rows(self) -> int:
        return sum(part.rows for part in self._parts)

    @property
    def has_labels(self) -> bool:
        return self._parts[0].label_kind is not None

    def batches(self, size: int) -> Iterator[Batch]:
        fixed = _fixed_batch(self._signature)
        for part in self._parts:
            try:
                for piece in part.slices(fixed or size):
                    feeds = piece.feeds if fixed is None else _padded(piece.feeds, fixed)
                    yield Batch(feeds, piece.rows, piece.labels, part.name, piece.first_row)
            except FaultyPartError as fault:
                problems = [Problem(part.name, message) for message in fault.messages]
                raise _invalid(self._folder, problems, self._signature) from fault


def _fixed_batch(signature: Signature) -> int | None:
    """The batch size that the model demands, or None where the caller chooses it."""
    for spec in signature.required:
        if spec.shape and isinstance(spec.shape[0], int):
            return spec.shape[0]
    return None


def _padded(feeds: dict[str, Array], size: int) -> dict[str, Array]:
    padded = dict(feeds)
    for name, value in feeds.items():
        if value.ndim and len(value) < size:
            padded[name] = np.concatenate([value, np.repeat(value[-1:], size - len(value), axis=0)])
    return padded


def _disagreements(parts: Sequence[Part]) -> Iterator[Problem]:
    """Files of one dataset must all have labels of one kind, or none."""
    for part in parts[1:]:
        if part.label_kind != parts[0].label_kind:
            yield Problem(
                part.name,
                f"{LABEL!r} is {part.label_kind or 'absent'}, but in {parts[0].name} it is "
                f"{parts[0].label_kind or 'absent'}",
            )


def _invalid(folder: Path, problems: Sequence[Problem], signature: Signature) -> ConfigError:
    listed = "; ".join(str(problem) for problem in problems[:5])
    more = f" (and {len(problems) - 5} more)" if len(problems) > 5 else ""
    return ConfigError(
        f"{folder} is no dataset for this model: {listed}{more}",
        problems=problems,
        hint=_layout(signature),
        code=INVALID,
    )


def _layout(signature: Signature) -> str:
    arrays = ", ".join(f"{spec.name!r} {spec.describe()}" for spec in signature.required)
    optional = ", ".join(repr(spec.name) for spec in signature.inputs if spec.optional)
    more = f"; only an .npz may give {optional} too" if optional else ""
    return (
        f"an .npz holds {arrays} and, for accuracy, {LABEL!r}; a .csv has feature columns in that order and {LABEL!r}"
        f"{more}"
    )
