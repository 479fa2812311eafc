"""Does config/processing.json fit the model that it stands beside? All its faults at once, as values."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from collections.abc import Set as AbstractSet

from hyperion.domain.processing import (
    ClassesOutput,
    Column,
    Processing,
    TableInput,
    TextInput,
    TokensOutput,
    VectorOutput,
)
from hyperion.domain.tensor import DType, Signature, TensorSpec
from hyperion.errors import Problem

_INTEGERS: tuple[DType, ...] = ("int64", "int32")
_FLOATS: tuple[DType, ...] = ("float32", "float64", "float16")
_CELLS: tuple[DType, ...] = ("float32", "float64", "int64", "int32", "string")
_LISTED = 5


def processing_faults(processing: Processing, signature: Signature, entries: Collection[str]) -> list[Problem]:
    """All that keeps a document from fitting the model that it stands beside.

    Args:
        processing: The document.
        signature: Of the model; its labels, where it has some, must be the document's.
        entries: Names of the package's entries.
    """
    if isinstance(processing.input, TextInput):
        found = [*_text_faults(processing.input, signature, entries)]
    else:
        found = [*_table_faults(processing.input, signature)]
    return [*found, *_output_faults(processing, signature)]


def _text_faults(text: TextInput, signature: Signature, entries: Collection[str]) -> Iterator[Problem]:
    if text.tokenizer not in entries:
        yield Problem("input.tokenizer", f"there is no {text.tokenizer!r} in the package")
    inputs = {spec.name: spec for spec in signature.inputs}
    for name, key in text.filled.items():
        yield from _spec_faults(f"input.{key}", name, inputs, _INTEGERS, (2,))
        spec = inputs.get(name)
        length = spec.shape[1] if spec is not None and spec.shape is not None and len(spec.shape) == 2 else ""
        if isinstance(length, int) and length < text.max_tokens:
            fault = f"is {text.max_tokens}, but the input {name!r} takes {length} tokens"
            yield Problem("input.max_tokens", fault)
    yield from _left_empty(signature, set[str | None](text.filled))


def _table_faults(table: TableInput, signature: Signature) -> Iterator[Problem]:
    inputs = {spec.name: spec for spec in signature.inputs}
    placed = table.placed()
    for name, columns in placed.items():
        if name is None:
            names = _listed([column.name for column in columns])
            yield Problem("input.input", f"required for the columns without an input of their own: {names}")
            continue
        own = columns[0].input is not None
        index = table.columns.index(columns[0])
        place = f"input.columns[{index}].input" if own else "input.input"
        yield from _spec_faults(place, name, inputs, _CELLS, (1, 2) if own else (2,))
        if name in inputs:
            yield from _column_faults(table, place, columns, inputs[name])
    yield from _left_empty(signature, set(placed))


def _column_faults(table: TableInput, place: str, columns: Sequence[Column], spec: TensorSpec) -> Iterator[Problem]:
    """What keeps these columns from being the input ``spec``."""
    width = spec.shape[1] if spec.shape is not None and len(spec.shape) == 2 else ""
    if isinstance(width, int) and width != len(columns):
        yield Problem(place, f"{spec.name!r} takes {width} columns, found {len(columns)}")
    for column in columns:
        at = f"input.columns[{table.columns.index(column)}]"
        if spec.dtype == "string" and column.kind == "number":
            yield Problem(f"{at}.kind", f"{spec.name!r} takes text, but {column.name!r} is a number")
        if spec.dtype != "string" and column.kind == "category" and column.categories is None:
            yield Problem(f"{at}.categories", f"required, since {spec.name!r} takes numbers")
        if column.missing == "nan" and spec.dtype not in _FLOATS:
            yield Problem(f"{at}.missing", f"{spec.name!r} is {spec.dtype}, which has no 'nan'")
        elif spec.dtype == "string" and column.missing is not None:
            yield Problem(f"{at}.missing", f"a number cannot stand for the text that {spec.name!r} takes")


def _output_faults(processing: Processing, signature: Signature) -> Iterator[Problem]:
    output = processing.output
    outputs = {spec.name: spec for spec in signature.outputs}
    ranks = {"classes": (1, 2), "tokens": (3,), "vector": (1, 2)}[output.kind]
    if isinstance(output, VectorOutput) and output.pooling != "none":
        ranks = (3,)
    yield from _spec_faults("output.output", output.output, outputs, _FLOATS, ranks)
    if not isinstance(processing.input, TextInput):
        if isinstance(output, TokensOutput):
            yield Problem("output.kind", "'tokens' needs an input of kind 'text'")
        if isinstance(output, VectorOutput) and output.pooling != "none":
            yield Problem("output.pooling", f"{output.pooling!r} needs an input of kind 'text'")
    if isinstance(output, VectorOutput):
        return
    if output.output in outputs:
        yield from _label_faults(output, outputs[output.output])
    if isinstance(output, ClassesOutput) and signature.labels not in (None, output.labels):
        yield Problem("output.labels", "are not the labels that hyperion.json or the model gives")
    if (
        isinstance(output, TokensOutput)
        and "outside" in output.model_fields_set
        and output.outside not in output.labels
    ):
        yield Problem("output.outside", f"{output.outside!r} is none of the labels")


def _label_faults(output: ClassesOutput | TokensOutput, spec: TensorSpec) -> Iterator[Problem]:
    """Whether there are as many labels as the class axis is long, where the model says how long it is."""
    shape = spec.shape or ()
    shared = isinstance(output, ClassesOutput) and output.activation == "sigmoid" and len(output.labels) == 2
    classes = shape[-1] if len(shape) == (3 if output.kind == "tokens" else 2) else 1 if len(shape) == 1 else ""
    if isinstance(classes, int) and classes != len(output.labels) and not (shared and classes == 1):
        fault = f"found {len(output.labels)}, but {spec.name!r} {spec.describe()} has {classes} classes"
        yield Problem("output.labels", fault)


def _spec_faults(
    place: str, name: str, specs: dict[str, TensorSpec], dtypes: Sequence[DType], ranks: Sequence[int]
) -> Iterator[Problem]:
    """Whether the model has a tensor of this name, of one of these dtypes and numbers of dimensions."""
    spec = specs.get(name)
    if spec is None:
        yield Problem(place, f"the model has no {name!r}; it has {_listed(list(specs))}")
        return
    if spec.dtype not in dtypes:
        yield Problem(place, f"{name!r} is {spec.describe()}; expected {' or '.join(dtypes)}")
    if spec.shape is not None and len(spec.shape) not in ranks:
        wanted = " or ".join(map(str, ranks))
        yield Problem(place, f"{name!r} is {spec.describe()}; expected {wanted} dimensions")


def _left_empty(signature: Signature, filled: AbstractSet[str | None]) -> Iterator[Problem]:
    empty = [spec.name for spec in signature.required if spec.name not in filled]
    if empty:
        yield Problem("input", f"nothing fills {_listed(empty)}, which the model needs")


def _listed(names: Sequence[str]) -> str:
    rest = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(map(repr, names[:_LISTED])) + rest
