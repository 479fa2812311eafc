"""What a person has before it is tensors: texts, pairs of texts, rows of a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from hyperion.errors import ConfigError, Problem

Cell = str | int | float | bool | None
"""One value of a table as it was given; None, blank text and NaN are missing values."""

_LISTED = 10


@dataclass(frozen=True, slots=True)
class RawTexts:
    """Texts, or pairs of them.

    Attributes:
        texts: One for each row.
        pairs: The second texts, as many; None where there are none.
        first_row: Number of the first row, for messages.
    """

    texts: Sequence[str]
    pairs: Sequence[str] | None = None
    first_row: int = 0

    @property
    def rows(self) -> int:
        return len(self.texts)

    def slices(self, size: int) -> Iterator[RawTexts]:
        """The same in parts of at most ``size`` rows."""
        for start in range(0, self.rows, size):
            end = start + size
            pairs = None if self.pairs is None else self.pairs[start:end]
            yield RawTexts(self.texts[start:end], pairs, self.first_row + start)


@dataclass(frozen=True, slots=True)
class RawTable:
    """Rows of a table, column by column.

    Attributes:
        columns: Cells by the column's name, each as long as the table.
        rows: Length of the table.
        first_row: Number of the first row, for messages.
    """

    columns: Mapping[str, Sequence[Cell]]
    rows: int
    first_row: int = 0

    def slices(self, size: int) -> Iterator[RawTable]:
        """The same in parts of at most ``size`` rows."""
        for start in range(0, self.rows, size):
            end = min(start + size, self.rows)
            columns = {name: cells[start:end] for name, cells in self.columns.items()}
            yield RawTable(columns, end - start, self.first_row + start)


RawInputs = RawTexts | RawTable


def refused_input(faults: Sequence[str]) -> ConfigError:
    """The error for raw inputs that a model cannot take; its message names the first ten faults, and never a value."""
    more = f"; and {len(faults) - _LISTED} more" if len(faults) > _LISTED else ""
    problems = [Problem("", fault) for fault in faults[:_LISTED]]
    return ConfigError(f"{'; '.join(faults[:_LISTED])}{more}", problems=problems, code="input.invalid")
