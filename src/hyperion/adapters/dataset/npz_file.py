"""NPZ files of a dataset: arrays named like the model's inputs, and ``label``; read row by row from the zip."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

from hyperion.adapters.dataset.part import LABEL, FaultyPartError, LabelKind, Piece, not_finite
from hyperion.domain.tensor import Signature, TensorSpec
from hyperion.format.float_cast import is_castable, narrowed, overflows
from hyperion.ports import Array

_SUFFIX = ".npy"
_BROKEN = (OSError, ValueError, EOFError, zipfile.BadZipFile, NotImplementedError, RuntimeError)
"""What zipfile and numpy raise for files that are damaged, packed in a way they do not know, or encrypted."""


@dataclass(frozen=True, slots=True)
class _Header:
    """What an array of the file says of itself."""

    member: str
    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]

    @property
    def type_name(self) -> str:
        return "string" if self.dtype.kind in "US" else self.dtype.name

    @property
    def row_bytes(self) -> int:
        return math.prod(self.shape[1:]) * self.dtype.itemsize


class NpzPart:
    """Implements dataset_part.Part."""

    def __init__(self, path: Path, signature: Signature) -> None:
        """Read the headers of all arrays and compare them with the signature.

        Raises:
            FaultyPartError: The file is broken, or an array is missing, unknown, or has another dtype or shape.
        """
        self._path, self._signature = path, signature
        self._dtypes = {spec.name: spec.dtype for spec in signature.inputs}
        try:
            with zipfile.ZipFile(path) as archive:
                self._headers = {i.filename.removesuffix(_SUFFIX): _read_header(archive, i) for i in archive.infolist()}
        except _BROKEN as error:
            raise FaultyPartError([f"is no readable NPZ file: {error}"]) from error
        problems = list(self._problems())
        if problems:
            raise FaultyPartError(problems)

    @property
    def name(self) -> str:
        return self._path.name

    @property
    def rows(self) -> int:
        return next(header.shape[0] for header in self._headers.values() if header.shape)

    @property
    def label_kind(self) -> LabelKind | None:
        header = self._headers.get(LABEL)
        if header is None or LABEL in {spec.name for spec in self._signature.inputs}:
            return None
        return "text" if header.type_name == "string" else "integer"

    def slices(self, size: int) -> Iterator[Piece]:
        """See dataset_part.Part.slices."""
        rows, names = self.rows, [spec.name for spec in self._signature.inputs if spec.name in self._headers]
        with ExitStack() as stack:
            try:
                archive = stack.enter_context(zipfile.ZipFile(self._path))
                wanted = names if self.label_kind is None else [*names, LABEL]
                arrays = {name: _Rows(archive, self._headers[name], stack) for name in wanted}
                for first in range(0, rows, size):
                    count = min(size, rows - first)
                    found = {name: array.take(count) for name, array in arrays.items()}
                    labels = found.pop(LABEL) if self.label_kind is not None else None
                    for name, value in found.items():
                        _refuse_not_finite(name, value, first)
                        found[name] = _narrowed(name, value, self._dtypes[name], first)
                    yield Piece(found, count, None if labels is None else _labels(labels), first)
            except _BROKEN as error:
                raise FaultyPartError([f"cannot be read to its end: {error}"]) from error

    def _problems(self) -> Iterator[str]:
        inputs = {spec.name: spec for spec in self._signature.inputs}
        for name, header in self._headers.items():
            if name in inputs and not self._is_by_row(inputs[name]):
                yield f"array {name!r}: {inputs[name].describe()} is not given row by row; leave it to its default"
            elif name in inputs:
                yield from _input_problems(inputs[name], header)
            elif name == LABEL:
                yield from _label_problems(header)
            else:
                yield f"array {name!r} is no input of the model and not {LABEL!r}; expected {', '.join(inputs)}"
        for name in {spec.name for spec in self._signature.required} - self._headers.keys():
            yield f"array {name!r} is missing: {inputs[name].describe()}; found {', '.join(self._headers) or 'nothing'}"
        lengths = {name: header.shape[0] for name, header in self._headers.items() if header.shape}
        if len(set(lengths.values())) > 1:
            yield f"arrays differ in their number of rows: {lengths}"
        elif not any(lengths.values()):
            yield "holds no rows"

    def _is_by_row(self, spec: TensorSpec) -> bool:
        """Whether each row of a dataset has its own value of an input; an optional one may be for all rows."""
        if not spec.optional or spec.shape is None:
            return True
        batches = {required.shape[0] for required in self._signature.required if required.shape}
        return spec.shape != () and (isinstance(spec.shape[0], str) or spec.shape[0] in batches)


class _Rows:
    """The rows of one array, from the first on."""

    def __init__(self, archive: zipfile.ZipFile, header: _Header, stack: ExitStack) -> None:
        self._header = header
        self._stream = stack.enter_context(archive.open(header.member))
        self._whole: Array | None = None
        self._next = 0
        if header.fortran or not header.shape:
            # Column after column: the first row is complete only at the end of the file.
            self._whole = npy.read_array(self._stream, allow_pickle=False)
        else:
            _skip_header(self._stream)

    def take(self, count: int) -> Array:
        if self._whole is not None:
            first, self._next = self._next, self._next + count
            rows = self._whole[first : first + count] if self._whole.ndim else self._whole
            return _plain(np.ascontiguousarray(rows) if rows.ndim else rows)
        wanted = count * self._header.row_bytes
        raw = self._stream.read(wanted)
        if len(raw) != wanted:
            raise ValueError(f"{self._header.member} ends early")
        return _plain(np.frombuffer(raw, self._header.dtype).reshape(count, *self._header.shape[1:]))


def _plain(value: Array) -> Array:
    """Native byte order, and text as objects that hold str."""
    if value.dtype.kind == "S":
        return np.char.decode(value, "utf-8").astype(object)
    if value.dtype.kind == "U":
        return value.astype(object)
    return value.astype(value.dtype.newbyteorder("="), copy=False)


def _read_header(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> _Header:
    if not info.filename.endswith(_SUFFIX):
        raise ValueError(f"it holds {info.filename!r}, which is no array")
    with archive.open(info) as stream:
        shape, fortran, dtype, size = _parse_header(stream)
    header = _Header(info.filename, shape, fortran and len(shape) > 1, dtype)
    if dtype.kind != "O" and size + math.prod(shape) * dtype.itemsize != info.file_size:
        raise ValueError(f"{info.filename} has another size than its header says")
    return header


def _skip_header(stream: IO[bytes]) -> None:
    _parse_header(stream)


def _parse_header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """Shape, whether in Fortran order, dtype, and the length of the header itself."""
    version = npy.read_magic(stream)
    if version == (1, 0):
        shape, fortran, dtype = npy.read_array_header_1_0(stream)
    elif version == (2, 0):
        shape, fortran, dtype = npy.read_array_header_2_0(stream)
    else:
        raise ValueError(f"npy version {version[0]}.{version[1]} holds records, not plain values")
    return shape, fortran, dtype, stream.tell()


def _input_problems(spec: TensorSpec, header: _Header) -> Iterator[str]:
    if header.dtype.kind == "O":
        yield f"array {spec.name!r} holds Python objects, which are not read; save text as numpy's str type"
        return
    # The first dimension is the dataset's own: any number of rows, given to the model in batches.
    shape = (spec.shape[0], *header.shape[1:]) if spec.shape and header.shape else header.shape
    sizes = [size if isinstance(size, int) else 1 for size in shape]
    dtype = spec.dtype if is_castable(header.type_name, spec.dtype) else header.type_name
    fault = spec.mismatch(dtype, sizes)
    if fault is not None:
        yield f"array {spec.name!r}: {fault}; the array is {header.type_name}{list(header.shape)}"


def _label_problems(header: _Header) -> Iterator[str]:
    if header.dtype.kind not in "iubUS":
        yield f"array {LABEL!r}: expected integers or text, found {header.dtype}"
    elif len(header.shape) != 1 and not (len(header.shape) == 2 and header.shape[1] == 1):
        yield f"array {LABEL!r}: expected shape [rows], found {list(header.shape)}"


def _narrowed(name: str, value: Array, wanted: str, first: int) -> Array:
    """The values of an input, float64 in the width that the model takes."""
    if not is_castable(value.dtype.name, wanted):
        return value
    cast = narrowed(value, wanted)
    beyond = overflows(value, cast)
    if beyond.any():
        place = tuple(int(axis[0]) for axis in np.nonzero(beyond))
        row = f"row {first + place[0]}, element {list(place[1:])}" if place else "its only value"
        raise FaultyPartError([f"array {name!r}, {row}: expected {wanted}, found {float(value[place])}"])
    return cast


def _labels(value: Array) -> Array:
    flat = value.reshape(-1)
    return flat if flat.dtype == object else flat.astype(np.int64)


def _refuse_not_finite(name: str, value: Array, first: int) -> None:
    if not_finite(value) is None:
        return
    place = tuple(int(index) for index in np.argwhere(~np.isfinite(value))[0])
    row = f"row {first + place[0]}, element {list(place[1:])}" if place else "its only value"
    raise FaultyPartError([f"array {name!r}, {row}: {not_finite(value[place])}"])
