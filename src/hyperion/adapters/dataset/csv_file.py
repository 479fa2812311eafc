"""CSV files of a dataset: a header line, feature columns in the order of the model's inputs, and ``label``."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hyperion.adapters.dataset.part import LABEL, FaultyPartError, LabelKind, Piece, not_finite
from hyperion.domain.tensor import Dimension, Signature, TensorSpec
from hyperion.ports import Array

_FIELD_LIMIT = 16 * 1024 * 1024
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")
_BOOLEANS = {"0": False, "false": False, "1": True, "true": True}


@dataclass(frozen=True, slots=True)
class _Columns:
    """Which columns make one input, and the shape of one row of it."""

    spec: TensorSpec
    first: int
    count: int
    row_shape: tuple[int, ...]


class CsvPart:
    """Implements dataset_part.Part; row numbers in messages count data rows from 0, lines from 1 with the header."""

    def __init__(self, path: Path, signature: Signature) -> None:
        """Read the file once: its header, its number of rows, the kind of its labels.

        Raises:
            FaultyPartError: Not UTF-8, no header, too few or too many columns, a row of another length.
        """
        self._path = path
        lines = self._lines()
        self._header = next(lines, (1, []))[1]
        if not self._header or _looks_like_data(self._header):
            raise FaultyPartError([f"its first line must name the columns, found {self._header[:4]}"])
        self._label = self._header.index(LABEL) if LABEL in self._header else None
        self._features = [index for index in range(len(self._header)) if index != self._label]
        self._inputs = _assign([self._header[index] for index in self._features], signature)
        self._rows, integers, known = 0, True, set(signature.labels or ())
        named = bool(known)
        for line, row in lines:
            if len(row) != len(self._header):
                raise FaultyPartError([f"line {line}: expected {len(self._header)} columns, found {len(row)}"])
            if self._label is not None:
                integers = integers and _INTEGER.fullmatch(row[self._label].strip()) is not None
                named = named and row[self._label].strip() in known
            self._rows += 1
        if not self._rows:
            raise FaultyPartError(["holds no rows"])
        # Names of classes may be numbers; a label that is such a name is meant as the name.
        self._kind: LabelKind | None = None if self._label is None else "text" if named or not integers else "integer"

    @property
    def name(self) -> str:
        return self._path.name

    @property
    def rows(self) -> int:
        return self._rows

    @property
    def label_kind(self) -> LabelKind | None:
        return self._kind

    def slices(self, size: int) -> Iterator[Piece]:
        """See dataset_part.Part.slices."""
        lines = self._lines()
        next(lines)
        first = 0
        rows: list[list[str]] = []
        for _, row in lines:
            rows.append(row)
            if len(rows) == size:
                yield self._piece(rows, first)
                first, rows = first + len(rows), []
        if rows:
            yield self._piece(rows, first)

    def _piece(self, rows: Sequence[list[str]], first: int) -> Piece:
        feeds = {}
        for columns in self._inputs:
            chosen = self._features[columns.first : columns.first + columns.count]
            values = self._values(rows, chosen, columns.spec.dtype, first)
            feeds[columns.spec.name] = values.reshape(len(rows), *columns.row_shape)
        return Piece(feeds, len(rows), self._labels(rows, first), first)

    def _values(self, rows: Sequence[list[str]], chosen: Sequence[int], dtype: str, first: int) -> Array:
        cells = np.array([[row[index] for index in chosen] for row in rows], dtype=object)
        if dtype == "string":
            return cells
        try:
            values = _parse_all(cells, dtype)
        except (ValueError, ArithmeticError):
            values = None
        if values is not None and not_finite(values) is None:
            return values
        for row, line in enumerate(cells):
            for position, cell in enumerate(line):
                fault = _cell_fault(cell, dtype)
                if fault is not None:
                    column = self._header[chosen[position]]
                    raise FaultyPartError([f"row {first + row}, column {column!r}: {fault}"])
        raise FaultyPartError([f"rows {first} to {first + len(rows) - 1} hold a value that is no {dtype}"])

    def _labels(self, rows: Sequence[list[str]], first: int) -> Array | None:
        if self._label is None:
            return None
        texts = [row[self._label].strip() for row in rows]
        if "" in texts:
            raise FaultyPartError([f"row {first + texts.index('')}, column {LABEL!r}: empty"])
        return np.array(texts, dtype=object) if self._kind == "text" else np.array(texts, dtype=np.int64)

    def _lines(self) -> Iterator[tuple[int, list[str]]]:
        """Line numbers and rows; blank lines are passed over, a byte-order mark of a spreadsheet too."""
        csv.field_size_limit(_FIELD_LIMIT)
        try:
            with self._path.open(encoding="utf-8-sig", newline="") as stream:
                reader = csv.reader(stream, strict=True)
                for row in reader:
                    if row:
                        yield reader.line_num, row
        except UnicodeDecodeError as error:
            raise FaultyPartError([f"is not UTF-8 text: {error.reason} at byte {error.start} of a block"]) from error
        except csv.Error as error:
            raise FaultyPartError([f"line {reader.line_num}: {error}"]) from error
        except OSError as error:
            raise FaultyPartError([f"cannot be read: {error.strerror}"]) from error


def _assign(features: Sequence[str], signature: Signature) -> list[_Columns]:
    """Give the columns to the required inputs, in order; one input alone may leave one dimension to the columns."""
    names = [spec.name for spec in signature.required]
    if sorted(features) == sorted(names) and list(features) != names:
        raise FaultyPartError([f"columns must be in the order of the inputs: expected {names}, found {list(features)}"])
    assigned: list[_Columns] = []
    first = 0
    for spec in signature.required:
        shape = _row_shape(spec, len(features) if len(names) == 1 else None)
        count = math.prod(shape)
        assigned.append(_Columns(spec, first, count, shape))
        first += count
    if first != len(features):
        needs = ", ".join(f"{c.spec.name!r} {c.spec.describe()} takes {c.count}" for c in assigned)
        raise FaultyPartError([f"expected {first} feature columns ({needs}), found {len(features)}"])
    return assigned


def _row_shape(spec: TensorSpec, columns: int | None) -> tuple[int, ...]:
    if spec.shape == () or spec.dtype == "other":
        raise FaultyPartError([f"input {spec.name!r} {spec.describe()} cannot come from columns; use an .npz file"])
    sizes: list[Dimension] = list(spec.shape[1:]) if spec.shape is not None else [""]
    free = [axis for axis, size in enumerate(sizes) if isinstance(size, str)]
    if not free:
        return tuple(size for size in sizes if isinstance(size, int))
    fixed = math.prod(size for size in sizes if isinstance(size, int))
    if len(free) > 1 or columns is None or columns == 0 or columns % fixed:
        raise FaultyPartError(
            [f"input {spec.name!r} {spec.describe()} has free dimensions that columns do not fix; use an .npz file"]
        )
    sizes[free[0]] = columns // fixed
    return tuple(int(size) for size in sizes)


def _looks_like_data(header: Sequence[str]) -> bool:
    return all(_is_number(cell) for cell in header)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _parse_all(cells: Array, dtype: str) -> Array:
    if dtype == "bool":
        parsed: list[list[Any]] = [[_parse_bool(cell) for cell in row] for row in cells]
    elif dtype.startswith(("int", "uint")):
        parsed = [[int(cell) for cell in row] for row in cells]
    else:
        with np.errstate(over="raise"):  # a number too large for the type is a fault, not infinity
            return cells.astype(np.float64).astype(np.dtype(dtype))
    return np.array(parsed, dtype=np.dtype(dtype)).reshape(cells.shape)


def _parse_bool(cell: str) -> bool:
    try:
        return _BOOLEANS[cell.strip().lower()]
    except KeyError as error:
        raise ValueError(cell) from error


def _cell_fault(cell: str, dtype: str) -> str | None:
    if not cell.strip():
        return f"empty, expected {dtype}"
    try:
        value = _parse_all(np.array([[cell]], dtype=object), dtype)
    except (ValueError, ArithmeticError):
        return f"expected {dtype}, found {cell[:40]!r}"
    return not_finite(value)
