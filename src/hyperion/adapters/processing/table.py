"""Rows of a table to tensors: numbers scaled, categories to their positions, in the document's order of columns."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from hyperion.domain.processing import Column, TableInput
from hyperion.domain.raw_input import Cell, RawInputs, RawTable, refused_input
from hyperion.domain.tensor import Signature, TensorSpec
from hyperion.ports import Array, Encoded

_LISTED_CATEGORIES = 5


class TableEncoder:
    """Rows to one or more inputs of the model.

    Every number is computed in double precision, (value - offset) / scale, and rounded once to the input's type.

    Args:
        table: The document's input, which fits ``signature``.
        signature: Of the model.
    """

    def __init__(self, table: TableInput, signature: Signature) -> None:
        self._names = {column.name for column in table.columns}
        specs = {spec.name: spec for spec in signature.inputs}
        self._placed = [(specs[name], columns) for name, columns in table.placed().items() if name is not None]
        self._positions = {
            column.name: {category: position for position, category in enumerate(column.categories)}
            for column in table.columns
            if column.categories is not None
        }

    def encode(self, inputs: RawInputs) -> Encoded:
        """See ports.Processor.encode."""
        if not isinstance(inputs, RawTable):
            raise refused_input(["this model takes rows of a table, not texts"])
        faults: list[str] = []
        feeds = {spec.name: self._tensor(spec, columns, inputs, faults) for spec, columns in self._placed}
        if faults:
            raise refused_input(faults)
        return Encoded(feeds, inputs.rows)

    def _tensor(self, spec: TensorSpec, columns: Sequence[Column], given: RawTable, faults: list[str]) -> Array:
        """One input; what is wrong with its cells is added to ``faults``."""
        dtype = np.dtype(object if spec.dtype == "string" else spec.dtype)
        filled = np.zeros((given.rows, len(columns)), dtype)
        for index, column in enumerate(columns):
            cells = given.columns.get(column.name)
            if cells is None and column.missing is None:
                faults.append(f"the column {column.name!r} is missing")
                continue
            values = self._values(column, cells or [None] * given.rows, dtype, given.first_row, faults)
            if values is not None:
                filled[:, index] = values
        return filled.reshape(given.rows) if spec.shape is not None and len(spec.shape) == 1 else filled

    def _values(
        self, column: Column, cells: Sequence[Cell], dtype: np.dtype, first_row: int, faults: list[str]
    ) -> Array | None:
        """One column as the model takes it; None where a cell is faulty."""
        if column.kind == "number" and set(map(type, cells)) <= {int, float}:
            quick = _finite(cells)
            if quick is not None:
                return _cast(_scaled(quick, column), dtype, column, first_row, faults)
        is_text = dtype.kind == "O"
        read = _read_number if column.kind == "number" else self._category_reader(column, as_text=is_text)
        found: list[float | str] = []
        before = len(faults)
        for row, cell in enumerate(cells):
            value = column.missing if _is_missing(cell) else read(cell)
            if value is None or isinstance(value, _Fault):
                what = "is empty or NaN" if value is None else value.text
                faults.append(f"row {first_row + row}, column {column.name!r}: {what}")
            else:
                found.append(value)
        if len(faults) > before:
            return None
        if is_text:
            return np.array(found, dtype=object)
        return _cast(_scaled(np.array(found, np.float64), column), dtype, column, first_row, faults)

    def _category_reader(self, column: Column, *, as_text: bool) -> Callable[[Cell], float | str | _Fault]:
        positions = self._positions.get(column.name)
        if positions is None:
            return _read_text
        unknown = _Fault(f"is none of the {len(positions)} categories ({_some(list(positions))})")

        def read(cell: Cell) -> float | str | _Fault:
            text = _read_text(cell)
            if isinstance(text, _Fault):
                return text
            position = positions.get(text)
            return unknown if position is None else text if as_text else position

        return read


class _Fault:
    """Why a cell is none that the column takes."""

    def __init__(self, text: str) -> None:
        self.text = text


def _is_missing(cell: Cell) -> bool:
    """None, empty text, and NaN: what spreadsheets, JSON and data frames have for "nothing"."""
    if isinstance(cell, str):
        return not cell or cell.isspace()
    return cell is None or (isinstance(cell, float) and math.isnan(cell))


def _finite(cells: Sequence[Cell]) -> Array | None:
    """Cells that are numbers of JSON or Python, at once; None where one is none that stays finite."""
    try:
        found = np.array(cells, np.float64)
    except OverflowError:
        return None
    return found if np.isfinite(found).all() else None


def _read_number(cell: Cell) -> float | str | _Fault:
    if isinstance(cell, bool):
        return _Fault("expected a number, found a boolean")
    if not isinstance(cell, (str, int, float)):
        return _Fault(f"expected a number, found {type(cell).__name__}")
    try:
        value = float("" if isinstance(cell, str) and "_" in cell else cell)  # Python's own 1_000 is no number here
    except ValueError:
        return _Fault("expected a number, found text that is none")
    except OverflowError:
        return _Fault("is out of range")
    return value if math.isfinite(value) else _Fault("expected a finite number, found NaN or infinity")


def _read_text(cell: Cell) -> str | _Fault:
    """A category as text; whole numbers are read as they are written."""
    if isinstance(cell, str):
        return cell
    if isinstance(cell, int) and not isinstance(cell, bool):
        return str(cell)
    return _Fault(f"expected text, found {'a boolean' if isinstance(cell, bool) else type(cell).__name__}")


def _scaled(values: Array, column: Column) -> Array:
    with np.errstate(over="ignore"):  # what overflows is told as a fault of its row
        scaled: Array = (values - column.offset) / column.scale
    return scaled


def _cast(values: Array, dtype: np.dtype, column: Column, first_row: int, faults: list[str]) -> Array | None:
    """Rounded to the input's type, once; None where a value is none of that type."""
    if dtype.kind == "i":
        limits = np.iinfo(dtype)
        wrong = (values != np.trunc(values)) | (values < limits.min) | (values >= float(limits.max) + 1)
        what = f"expected a whole number that {dtype.name} holds"
    else:
        with np.errstate(over="ignore"):
            wrong = np.isinf(values.astype(dtype))  # NaN is what the document itself puts for an empty cell
        what = f"is out of range of {dtype.name}"
    if wrong.any():
        faults += [f"row {first_row + int(row)}, column {column.name!r}: {what}" for row in np.flatnonzero(wrong)]
        return None
    return values.astype(dtype)


def _some(names: Sequence[str]) -> str:
    more = ", …" if len(names) > _LISTED_CATEGORIES else ""
    return ", ".join(map(repr, names[:_LISTED_CATEGORIES])) + more
