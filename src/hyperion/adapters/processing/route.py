"""What config/processing.json says, done: raw inputs to tensors, tensors to answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Protocol

from hyperion.adapters.processing.answer import ClassAnswers, VectorAnswers
from hyperion.adapters.processing.span import SpanAnswers
from hyperion.adapters.processing.table import TableEncoder
from hyperion.adapters.processing.text import MAX_BATCH_TOKENS, TextEncoder, load_tokenizer, table_faults
from hyperion.domain.manifest import PROCESSING
from hyperion.domain.prediction import Prediction
from hyperion.domain.processing import ClassesOutput, Processing, TextInput, TokensOutput
from hyperion.domain.processing_fit import processing_faults
from hyperion.domain.raw_input import RawInputs, refused_input
from hyperion.domain.tensor import Signature, TensorSpec
from hyperion.errors import ConfigError
from hyperion.format.package import PackageReader
from hyperion.format.strict_json import faulty_document, parse_document
from hyperion.ports import Array, Encoded, Processor, Tensors

MAX_PROCESSING_BYTES = 4 * 1024 * 1024

Entries = Mapping[str, Callable[[], bytes]]


class LocalProcessors:
    """Implements ports.Processors."""

    def open(self, package: PackageReader) -> Processor | None:
        """The package's processor; see ports.Processors."""
        names = package.names()
        if PROCESSING not in names:
            return None
        entries = {name: partial(package.read, name) for name in names}
        source = f"{package.source}: {PROCESSING}"
        try:
            return make_processor(package.read(PROCESSING), source, package.manifest.signature, entries)
        except ConfigError as error:
            raise ConfigError(
                f"this package takes tensors only, for its {PROCESSING} cannot be used: {error.message}",
                problems=error.problems,
                hint=error.hint or "send tensors, or package the model again with a valid document",
                code="processing.unusable",
            ) from error

    def check(
        self,
        raw: bytes,
        source: str,
        signature: Signature,
        entries: Entries,
        index_bound: Callable[[str], int | None] | None = None,
    ) -> None:
        """Demand that a document can be used; see ports.Processors."""
        processing = make_processor(raw, source, signature, entries).processing
        if index_bound is not None and isinstance(processing.input, TextInput):
            faults = table_faults(processing.input, entries, index_bound(processing.input.ids))
            if faults:
                raise faulty_document(source, faults)


class _Encoder(Protocol):
    def encode(self, inputs: RawInputs) -> Encoded: ...


class _Answers(Protocol):
    @property
    def specs(self) -> tuple[TensorSpec, ...]: ...

    def tensors(self, encoded: Encoded, outputs: Tensors) -> dict[str, Array]: ...

    def predictions(self, encoded: Encoded, outputs: Tensors) -> tuple[Prediction, ...]: ...


class ModelProcessor:
    """Implements ports.Processor."""

    def __init__(self, processing: Processing, signature: Signature, encoder: _Encoder, answers: _Answers) -> None:
        self._processing = processing
        self._encoder = encoder
        self._answers = answers
        taken = {spec.name for spec in signature.outputs}
        self._names = {spec.name: _free_name(spec.name, taken) for spec in answers.specs}
        self._fixed_rows = _fixed_rows(processing, signature)

    @property
    def processing(self) -> Processing:
        return self._processing

    @property
    def answer_specs(self) -> tuple[TensorSpec, ...]:
        return tuple(spec.model_copy(update={"name": self._names[spec.name]}) for spec in self._answers.specs)

    def batch_rows(self, wanted: int) -> int:
        if self._fixed_rows is not None:
            return self._fixed_rows
        given = self._processing.input
        return min(wanted, max(1, MAX_BATCH_TOKENS // given.max_tokens)) if isinstance(given, TextInput) else wanted

    def encode(self, inputs: RawInputs) -> Encoded:
        """Raw inputs as the model's tensors; see ports.Processor."""
        if inputs.rows == 0:
            raise refused_input(["there are no rows: expected at least one"])
        if self._fixed_rows is not None and inputs.rows != self._fixed_rows:
            raise refused_input([f"the model takes {self._fixed_rows} rows at a time, found {inputs.rows}"])
        return self._encoder.encode(inputs)

    def answers(self, encoded: Encoded, outputs: Tensors) -> dict[str, Array]:
        return {self._names[name]: array for name, array in self._answers.tensors(encoded, outputs).items()}

    def predictions(self, encoded: Encoded, outputs: Tensors) -> tuple[Prediction, ...]:
        return self._answers.predictions(encoded, outputs)


def make_processor(raw: bytes, source: str, signature: Signature, entries: Entries) -> Processor:
    """The processor that a document describes.

    Raises:
        ConfigError: All its faults.
    """
    processing = parse_document(Processing, raw, source, limit=MAX_PROCESSING_BYTES)
    faults = processing_faults(processing, signature, entries)
    given, output = processing.input, processing.output
    if isinstance(given, TextInput):
        tokenizer, trouble = load_tokenizer(given, entries)
        faults += trouble
        if faults or tokenizer is None:
            raise faulty_document(source, faults)
        encoder: _Encoder = TextEncoder(given, signature, tokenizer, with_places=isinstance(output, TokensOutput))
    elif faults:
        raise faulty_document(source, faults)
    else:
        encoder = TableEncoder(given, signature)
    return ModelProcessor(processing, signature, encoder, _answers_of(processing))


def _answers_of(processing: Processing) -> _Answers:
    output = processing.output
    if isinstance(output, ClassesOutput):
        return ClassAnswers(output)
    return SpanAnswers(output) if isinstance(output, TokensOutput) else VectorAnswers(output)


def _free_name(name: str, taken: set[str]) -> str:
    """``name``, or where an output of the model has it ``predicted_NAME``."""
    while name in taken:
        name = f"predicted_{name}"
    return name


def _fixed_rows(processing: Processing, signature: Signature) -> int | None:
    given = processing.input
    filled = set(given.filled) if isinstance(given, TextInput) else set(given.placed())
    sizes = (spec.shape[0] for spec in signature.inputs if spec.name in filled and spec.shape)
    return next((size for size in sizes if isinstance(size, int)), None)
