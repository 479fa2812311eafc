"""What ``hyperion run`` is given: texts, a CSV or JSON text of rows, tensors as JSON or NPZ."""

from __future__ import annotations

import csv
import sys
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal
from zipfile import BadZipFile, ZipFile

from hyperion.domain.document import Document, JsonValue
from hyperion.domain.processing import TEXT, TEXT_PAIR, Processing, TextInput
from hyperion.domain.raw_input import Cell, RawInputs, RawTable, RawTexts
from hyperion.domain.tensor import TensorSpec
from hyperion.errors import ConfigError, HostError, NotFoundError, Problem
from hyperion.format.limits import MAX_JSON_BYTES
from hyperion.format.strict_json import checked_document, parse_json
from hyperion.usecases.load import raw_inputs
from hyperion.verification.golden import INPUT_PREFIX, OUTPUT_PREFIX

if TYPE_CHECKING:
    from hyperion.ports import Array

_MAX_LINE_BYTES = 16 * 1024 * 1024
"""Of a CSV file, and of one value on several lines: several times the longest pair of texts that is taken."""
_ZIP = b"PK"
MAX_NPZ_BYTES = 1024**3
"""Of a file of tensors, packed and unpacked: as JSON an answer to more would not fit into memory either."""


@dataclass(frozen=True, slots=True)
class DataFile:
    """A file of inputs.

    Attributes:
        kind: How it is read.
        path: Where it lies; None for standard input.
    """

    kind: Literal["json", "csv", "npz"]
    path: Path | None = None

    @property
    def name(self) -> str:
        return "standard input" if self.path is None else str(self.path)

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """Its bytes.

        Raises:
            NotFoundError: There is no such file (code ``input.not_found``).
            HostError: It cannot be read.
        """
        try:
            if self.path is None:
                yield sys.stdin.buffer
                return
            with self.path.open("rb") as stream:
                yield stream
        except (FileNotFoundError, NotADirectoryError) as error:
            raise NotFoundError(
                f"there is no file {self.path}", hint="check the path", code="input.not_found"
            ) from error
        except OSError as error:
            raise HostError(f"{self.name}: cannot be read: {error.strerror or error}") from error


class JsonTensor(Document):
    """One tensor of a v2 request."""

    name: str
    shape: tuple[int, ...]
    datatype: str
    data: list[Any]
    parameters: dict[str, Any] | None = None


class JsonRequest(Document):
    """A request of the Open Inference Protocol v2, as a server takes it."""

    inputs: tuple[JsonTensor, ...]
    id: str | None = None
    outputs: list[Any] | None = None
    parameters: dict[str, Any] | None = None


def read_csv(
    file: DataFile, processing: Processing, batch_rows: int, tell: Callable[[Sequence[str]], None]
) -> Iterator[RawInputs]:
    """Rows of a CSV file whose first line names the columns.

    Args:
        file: The file.
        processing: What the model takes; other columns are passed over.
        batch_rows: Rows in one part.
        tell: Is told the names of all columns.

    Raises:
        ConfigError: It is no such file; names the line (code ``input.csv``).
    """
    with file.open() as stream:
        lines = _csv_lines(stream, file.name)
        header = next(lines, (1, []))[1]
        if not header:
            raise _no_csv(file.name, "it is empty; expected a first line that names the columns")
        if len(set(header)) < len(header):
            raise _no_csv(file.name, "line 1: a column is named twice")
        missing = [name for name in _needed(processing) if name not in header]
        if missing:
            names = ", ".join(map(repr, missing[:10]))
            raise _no_csv(file.name, f"line 1 names no column {names}; it names {len(header)} others")
        tell(header)
        rows: list[list[str]] = []
        first = 0
        for line, row in lines:
            if len(row) != len(header):
                raise _no_csv(file.name, f"line {line}: expected {len(header)} values, found {len(row)}")
            rows.append(row)
            if len(rows) == batch_rows:
                yield _of_columns(header, rows, processing, first)
                first, rows = first + len(rows), []
        if rows or first == 0:
            yield _of_columns(header, rows, processing, first)


def read_json(file: DataFile) -> JsonRequest | Sequence[JsonValue]:
    """A v2 request, or a list of rows: texts, pairs of texts, objects. One object is a list of one.

    Raises:
        ConfigError: It is neither (code ``json.…`` or ``input.json``).
    """
    with file.open() as stream:
        raw = stream.read(MAX_JSON_BYTES + 1)  # one more than is parsed: the parser says that it is too large
    found = parse_json(raw, file.name)
    if isinstance(found, dict):
        return checked_document(JsonRequest, raw, file.name) if "inputs" in found else [found]
    if isinstance(found, list):
        return found
    fault = f"expected a list of rows or a v2 request, found {type(found).__name__}"
    raise ConfigError(f"{file.name}: {fault}", problems=[Problem("", fault)], code="input.json")


def json_rows(rows: Sequence[JsonValue], processing: Processing) -> RawInputs:
    """Rows of a JSON list; objects give texts under ``text`` and ``text_pair``, or the columns of a table.

    Raises:
        ConfigError: They are not all of one kind (code ``input.invalid``).
    """
    if isinstance(processing.input, TextInput) and all(isinstance(row, dict) and TEXT in row for row in rows):
        found = [row for row in rows if isinstance(row, dict)]
        paired = any(TEXT_PAIR in row for row in found)
        return raw_inputs([(row[TEXT], row.get(TEXT_PAIR)) if paired else row[TEXT] for row in found])  # type: ignore[misc]
    return raw_inputs(rows)  # type: ignore[arg-type]


def read_npz(file: DataFile) -> dict[str, Array]:
    """Arrays by input name; those of a golden request may keep their ``input:``, and its outputs are passed over.

    Raises:
        ConfigError: It is no NPZ file, or holds objects (code ``input.npz``).
    """
    import numpy as np

    with file.open() as stream:
        raw = stream.read(len(_ZIP))
        if raw == _ZIP:
            raw += stream.read(MAX_NPZ_BYTES + 1 - len(raw))  # a stream may have no end
    try:
        if not raw.startswith(_ZIP):
            raise ValueError("it is no zip file")
        if len(raw) > MAX_NPZ_BYTES or sum(item.file_size for item in ZipFile(BytesIO(raw)).infolist()) > MAX_NPZ_BYTES:
            raise ValueError(f"at most {MAX_NPZ_BYTES} bytes are read, packed and unpacked; give it in parts")
        with np.load(BytesIO(raw), allow_pickle=False) as arrays:
            named = {name: arrays[name] for name in arrays.files if not name.startswith(OUTPUT_PREFIX)}
    except (ValueError, OSError, EOFError, KeyError, BadZipFile, AttributeError, TypeError) as error:
        fault = f"is no NPZ file of plain arrays: {str(error)[:200]}"
        raise ConfigError(f"{file.name} {fault}", problems=[Problem("", fault)], code="input.npz") from error
    return {name.removeprefix(INPUT_PREFIX): array for name, array in named.items()}


def passed_over(names: Sequence[str], processing: Processing) -> tuple[str, ...]:
    """Which of these columns the model does not take."""
    taken = {spec.name for spec in processing.raw_inputs}
    return tuple(name for name in names if name not in taken)


def batches_of(
    feeds: Mapping[str, Array], inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], batch_rows: int
) -> Iterator[dict[str, Array]]:
    """Feeds in slices, where the model says that the first dimension of all its tensors is one free batch."""
    given = [spec for spec in inputs if spec.name in feeds]
    firsts = {spec.shape[0] if spec.shape else None for spec in (*given, *outputs)}
    rows = {feeds[spec.name].shape[0] if feeds[spec.name].ndim else 0 for spec in given}
    first, count = next(iter(firsts), None), next(iter(rows), 0)
    if len(firsts) != 1 or not isinstance(first, str) or first == "" or len(rows) != 1 or count <= batch_rows:
        yield dict(feeds)
        return
    for start in range(0, count, batch_rows):
        yield {name: array[start : start + batch_rows] for name, array in feeds.items()}


def _needed(processing: Processing) -> Iterator[str]:
    return (spec.name for spec in processing.raw_inputs if not spec.optional)


def _of_columns(header: Sequence[str], rows: Sequence[list[str]], processing: Processing, first: int) -> RawInputs:
    columns: dict[str, list[Cell]] = {name: [row[index] for row in rows] for index, name in enumerate(header)}
    if not isinstance(processing.input, TextInput):
        return RawTable(columns, len(rows), first)
    texts, pairs = ([str(text) for text in columns.get(part, ())] for part in (TEXT, TEXT_PAIR))
    return RawTexts(texts, pairs if TEXT_PAIR in columns else None, first)


def _csv_lines(stream: BinaryIO, name: str) -> Iterator[tuple[int, list[str]]]:
    """Line numbers and rows; blank lines are passed over, a byte-order mark of a spreadsheet too."""
    csv.field_size_limit(_MAX_LINE_BYTES)
    reader = csv.reader((line.decode() for line in _bounded_lines(stream, name)), strict=True)
    try:
        for row in reader:
            if row:
                yield reader.line_num, row
    except UnicodeDecodeError as error:
        fault = f"line {reader.line_num + 1}: is no UTF-8 text: {error.reason} at byte {error.start}"
        raise _no_csv(name, fault) from error
    except csv.Error as error:
        raise _no_csv(name, f"line {reader.line_num}: {error}") from error


def _bounded_lines(stream: BinaryIO, name: str) -> Iterator[bytes]:
    """The lines, of which the first has no byte-order mark; a file without line ends is not read to its end.

    Raises:
        ConfigError: A line is too long; names it.
    """
    number = 1
    while line := stream.readline(_MAX_LINE_BYTES + 1):
        if len(line) > _MAX_LINE_BYTES:
            raise _no_csv(name, f"line {number}: expected at most {_MAX_LINE_BYTES} bytes, found more; is it text?")
        yield line.removeprefix(BOM_UTF8) if number == 1 else line
        number += 1


def _no_csv(name: str, fault: str) -> ConfigError:
    return ConfigError(f"{name}: {fault}", problems=[Problem("", fault)], code="input.csv")
