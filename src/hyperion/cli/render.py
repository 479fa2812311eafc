"""How answers look: rich tables on a terminal, the same text plain in a pipe, JSON for programs.

Whatever comes from a package or a user passes through hyperion.cli.text.clean and is never read as markup.
"""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from io import StringIO
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from hyperion.cli.main import answered
from hyperion.cli.text import clean
from hyperion.errors import HostError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

T = TypeVar("T")

PLAIN_WIDTH = 10_000
"""Columns of the page that goes into a pipe: wide enough that nothing wraps."""

NARROWEST_LAST = 16
"""Columns that the last column of a table keeps at least, where it has that much to show."""

GAP = 3
"""Columns of padding and ruling that each column of a table takes on a terminal."""


def answer(value: T, as_json: bool, show: Callable[[Console, T], None], **verdict: bool) -> None:
    """Print an answer on stdout: as JSON, with ``verdict`` first where there is one, or as ``show`` draws it."""
    if as_json:
        data = plain_data(value)
        emit(json.dumps({**verdict, **data} if verdict else data, indent=2) + "\n")
    elif sys.stdout.isatty():
        show(make_console(), value)
    else:
        page = StringIO()
        show(make_console(page), value)
        emit("".join(f"{line.rstrip()}\n" for line in page.getvalue().splitlines()))
    answered()


def emit(text: str) -> None:
    """Write to stdout at once.

    Raises:
        HostError: It cannot be written (a full disk behind a redirection).
    """
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise HostError(f"the answer cannot be written to stdout: {error.strerror}", code="host.stdout") from error


def json_line(value: object) -> str:
    """``value`` as one line of JSON."""
    return json.dumps(plain_data(value), separators=(",", ":")) + "\n"


def plain_data(value: Any) -> Any:
    """Documents, dataclasses, dates, paths and enums as what JSON has; a non-finite number is null."""
    if hasattr(value, "model_dump"):
        return plain_data(value.model_dump(mode="json", by_alias=True))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain_data(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain_data(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain_data(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (str, int)):
        return value
    return value.isoformat() if isinstance(value, datetime) else str(value)


def make_console(page: StringIO | None = None) -> Console:
    """A console that never reads markup; on a page (no terminal) without colour and without wrapping."""
    from rich.console import Console

    if page is None:
        return Console(markup=False, highlight=False, emoji=False)
    return Console(
        file=page, width=PLAIN_WIDTH, color_system=None, force_terminal=False,
        markup=False, highlight=False, emoji=False, legacy_windows=False,
    )  # fmt: skip


def line(console: Console, text: str, style: str = "") -> None:
    """One paragraph; ``text`` is cleaned here."""
    from rich.text import Text

    console.print(Text(clean(text), style=style), soft_wrap=True)


def block(console: Console, text: str) -> None:
    """Several lines as they are, such as Markdown; only control characters are escaped."""
    from rich.text import Text

    console.print(Text(clean(text, keep_newlines=True)), soft_wrap=True)


def pairs(console: Console, rows: Iterable[tuple[str, object]]) -> None:
    """Names and values in two columns; a row without a value is left out.

    A long text wraps within its column; a word that is too long for it, such as a digest, is left in one piece, so
    that it can be copied.
    """
    from rich.text import Text

    shown = [(_cell(name), _cell(value)) for name, value in rows if value not in (None, "", ())]
    indent = max((name.cell_len for name, _ in shown), default=0) + 2
    for name, value in shown:
        name.stylize("dim")
        name.pad_right(indent - name.cell_len)
        width = max(console.width - indent, NARROWEST_LAST)
        pieces = value.wrap(console, width) if " " in value.plain else [value]
        for index, piece in enumerate(pieces):
            piece.rstrip()
            console.print(Text.assemble(name if index == 0 else " " * indent, piece), soft_wrap=True)


def table(
    console: Console, columns: Sequence[str], rows: Iterable[Sequence[object]], *, right: Iterable[str] = ()
) -> None:
    """A table with a heading; columns named in ``right`` are aligned to the right.

    Only the last column wraps. Where the terminal is too narrow even so, every row becomes a block of pairs.
    """
    kept = [tuple(row) for row in rows]
    if _narrowest(columns, kept) <= console.width:
        console.print(_table(console, columns, kept, frozenset(right)))
        return
    indent = " " * (len(columns[0]) - len(columns[0].lstrip()))
    names = [f"{indent}{column.strip()}" for column in columns]
    for row in kept:
        pairs(console, zip(names, row, strict=True))
        console.print()


def _narrowest(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> int:
    """Columns of the narrowest terminal on which a table loses nothing and its last column is no mere strip."""
    widths: list[int] = [max(_cell(cell).cell_len for cell in column) for column in zip(columns, *rows, strict=True)]
    return sum(widths[:-1]) + min(widths[-1], NARROWEST_LAST) + GAP * len(columns)


def _table(console: Console, columns: Sequence[str], rows: Sequence[Sequence[object]], right: frozenset[str]) -> Table:
    from rich import box
    from rich.table import Table

    drawn = Table(box=box.SIMPLE_HEAD if console.is_terminal else None, pad_edge=False, header_style="bold")
    for index, column in enumerate(columns):
        justify: Literal["left", "right"] = "right" if column in right else "left"
        drawn.add_column(_cell(column), justify=justify, no_wrap=index < len(columns) - 1, overflow="fold")
    for row in rows:
        drawn.add_row(*(_cell(value) for value in row))
    return drawn


def number(value: object, digits: int = 3) -> str:
    """A figure for people: thousands separated, ``digits`` significant digits below 1000, ``-`` where there is none."""
    if value is None:
        return "-"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, int) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.{digits}g}"


def when(at: datetime | None) -> str:
    """A stored time (UTC) for people, to the second."""
    return "-" if at is None else at.strftime("%Y-%m-%d %H:%M:%SZ")


def _cell(value: object) -> Any:
    from rich.text import Text

    return value if isinstance(value, Text) else Text("-" if value is None else clean(value))
