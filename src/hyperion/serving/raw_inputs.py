"""Requests with raw inputs: texts and rows of a table in, the model's tensors and its answers in words out."""

from __future__ import annotations

from hyperion.domain.raw_input import RawInputs
from hyperion.errors import ConfigError, EngineError
from hyperion.ports import Array, Encoded, Processor, Tensors
from hyperion.serving.protocol import RequestRefused
from hyperion.verification.golden import is_finite

_NOT_FINITE = "output.not_finite"


class RawRequests:
    """Both ends of a raw request; what lies between them is the same inference that tensors get.

    Args:
        processor: Of the model that is served.
        finite_outputs: As in ServedModel.
    """

    def __init__(self, processor: Processor, finite_outputs: frozenset[str] = frozenset()) -> None:
        self._processor = processor
        self._finite_outputs = finite_outputs
        self._answers = frozenset(spec.name for spec in processor.answer_specs)

    def encode(self, inputs: RawInputs) -> Encoded:
        """The tensors of a raw request.

        Raises:
            RequestRefused: Rows that the model cannot take (cause ``bad_request``), or the tokenizer failed.
        """
        try:
            return self._processor.encode(inputs)
        except ConfigError as error:
            raise RequestRefused("bad_request", error.message) from error
        except EngineError as error:
            raise RequestRefused("engine", error.message) from error

    def answered(self, encoded: Encoded, outputs: dict[str, Array], wanted: tuple[str, ...]) -> Tensors:
        """The model's outputs, and beside them its answers in words where any is wanted.

        Raises:
            RequestRefused: The outputs are none that can be put into words.
        """
        if self._answers.isdisjoint(wanted):
            return outputs
        try:
            return outputs | self._processor.answers(encoded, outputs)
        except EngineError as error:
            raise RequestRefused(self._cause(error, outputs), error.message) from error

    def _cause(self, error: EngineError, outputs: Tensors) -> str:
        if error.code != _NOT_FINITE:
            return "engine"
        expected = self._finite_outputs & outputs.keys()
        return "non_finite_output" if all(is_finite(outputs[name]) for name in expected) else "invalid_output"
