"""Raw inputs as tensors of the Open Inference Protocol v2: texts and table columns under names of their own.

A model that takes texts has the BYTES inputs ``text`` and ``text_pair``; one that takes rows of a table has an input
for each column, BYTES or any type of numbers. Each holds one element for each row, [rows] or [rows, 1].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from hyperion.domain.processing import TEXT, TEXT_PAIR, Processing, TextInput
from hyperion.domain.raw_input import Cell, RawInputs, RawTable, RawTexts
from hyperion.domain.tensor import TensorSpec
from hyperion.format.tensor_json import DATATYPE_OF, TensorJsonError, parse_tensor


class GivenTensor(Protocol):
    """One tensor as a request spells it."""

    @property
    def name(self) -> str: ...

    @property
    def shape(self) -> Sequence[int]: ...

    @property
    def datatype(self) -> str: ...

    @property
    def data(self) -> Any: ...


def are_raw(given: Sequence[GivenTensor], processing: Processing, inputs: Mapping[str, TensorSpec]) -> bool:
    """Whether a request means raw inputs: all its names are theirs, and they are not just the model's own tensors.

    A column may have the name of the input that it fills. Then type and number of dimensions tell which is meant.
    """
    raw = {spec.name for spec in processing.raw_inputs}
    if not given or any(tensor.name not in raw for tensor in given):
        return False
    return not all(tensor.name in inputs and _looks_like(tensor, inputs[tensor.name]) for tensor in given)


def parse_raw_inputs(given: Sequence[GivenTensor], processing: Processing) -> RawInputs:
    """Raw inputs from the tensors of a request for which ``are_raw`` holds.

    Raises:
        TensorJsonError: Names the input, what was expected and found, never the data.
    """
    columns: dict[str, list[Cell]] = {}
    for tensor in given:
        if tensor.name in columns:
            raise TensorJsonError(f"input {tensor.name!r} is given twice")
        columns[tensor.name] = _elements(tensor, is_text=isinstance(processing.input, TextInput))
    lengths = {name: len(cells) for name, cells in columns.items()}
    if len(set(lengths.values())) > 1:
        found = ", ".join(f"{name!r} {length}" for name, length in lengths.items())
        raise TensorJsonError(f"raw inputs must have as many rows as each other, found {found[:300]}")
    if not isinstance(processing.input, TextInput):
        return RawTable(columns, next(iter(lengths.values())))
    if TEXT not in columns:
        raise TensorJsonError(f"missing input {TEXT!r}")
    texts, pairs = ([str(text) for text in columns.get(part, ())] for part in (TEXT, TEXT_PAIR))
    return RawTexts(texts, pairs if TEXT_PAIR in columns else None)


def _looks_like(tensor: GivenTensor, spec: TensorSpec) -> bool:
    same_rank = spec.shape is None or len(spec.shape) == len(tensor.shape)
    return same_rank and tensor.datatype == DATATYPE_OF.get(spec.dtype)


def _elements(tensor: GivenTensor, *, is_text: bool) -> list[Cell]:
    """One element for each row."""
    if is_text and tensor.datatype != "BYTES":
        raise TensorJsonError(f"input {tensor.name!r}: expected BYTES, found {tensor.datatype[:20]!r}")
    shape = list(tensor.shape)
    if len(shape) not in (1, 2) or shape[1:] not in ([], [1]):
        raise TensorJsonError(f"input {tensor.name!r}: expected shape [rows] or [rows, 1], found {shape[:8]}")
    if tensor.data is None:
        raise TensorJsonError(f"input {tensor.name!r}: it has no data")
    try:
        found: list[Cell] = parse_tensor(tensor.datatype, shape, tensor.data).reshape(-1).tolist()
    except TensorJsonError as error:
        raise TensorJsonError(f"input {tensor.name!r}: {error}") from error
    return found
