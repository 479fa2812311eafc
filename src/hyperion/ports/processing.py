"""Raw inputs to tensors, and tensors to answers, as a package's config/processing.json says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

# Only types are spoken of here: the supervisor needs no numpy, and a worker's start is waited for.
if TYPE_CHECKING:
    from hyperion.domain.prediction import Prediction
    from hyperion.domain.processing import Processing
    from hyperion.domain.raw_input import RawInputs
    from hyperion.domain.tensor import Signature, TensorSpec
    from hyperion.format.package import PackageReader
    from hyperion.ports.tensors import Array, Tensors


@dataclass(frozen=True, slots=True)
class TokenPlaces:
    """Where the tokens of one row stand in its text.

    Attributes:
        offsets: First character of each token and the one after its last; (0, 0) for tokens of no text.
        words: Number of each token's word, None for tokens of no text.
        parts: 0 for tokens of the text, 1 for those of the second text of a pair, None for tokens of no text.
        texts: The text, and the second one of a pair.
    """

    offsets: Sequence[tuple[int, int]]
    words: Sequence[int | None]
    parts: Sequence[int | None]
    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Encoded:
    """Raw inputs as tensors.

    Attributes:
        feeds: Arrays by input name, ready for Session.run.
        rows: How many rows they hold.
        mask: Which tokens are no padding, bool [rows, sequence]; None for tables.
        places: One for each row where answers are spans of the text; else empty.
        cut: Rows whose text was longer than the model takes, counted from 0 within these inputs.
    """

    feeds: Tensors
    rows: int
    mask: Array | None = None
    places: Sequence[TokenPlaces] = ()
    cut: tuple[int, ...] = ()


class Processor(Protocol):
    """The processing of one model; safe to use from several threads at once."""

    @property
    def processing(self) -> Processing: ...

    @property
    def answer_specs(self) -> tuple[TensorSpec, ...]:
        """What ``answers`` gives beside the model's own outputs, none of which has these names."""

    def batch_rows(self, wanted: int) -> int:
        """How many rows to encode at once: ``wanted``, fewer where texts may be long, or what the model demands."""

    def encode(self, inputs: RawInputs) -> Encoded:
        """Raw inputs as the model's tensors.

        Raises:
            ConfigError: Rows that the model cannot take (code ``input.invalid``); names row and column, never values.
            EngineError: The tokenizer failed (code ``tokenizer.failed``).
        """

    def answers(self, encoded: Encoded, outputs: Tensors) -> dict[str, Array]:
        """The answers as tensors, one row each.

        For classes ``label`` (text) and ``score`` (float32), both [rows]; for spans ``spans`` (text [rows], each a
        JSON list of objects); for a vector that the model does not give itself ``vector`` (float32 [rows, size]).
        Where an output of the model has such a name, ``predicted_`` stands before it.

        Raises:
            EngineError: The model's output has not the shape that was promised (code ``output.mismatch``), or it
                holds NaN or infinity (``output.not_finite``).
        """

    def predictions(self, encoded: Encoded, outputs: Tensors) -> tuple[Prediction, ...]:
        """The same answers as values, one for each row, with the scores of all classes.

        Raises:
            EngineError: As ``answers``.
        """


class Processors(Protocol):
    """Makes processors."""

    def open(self, package: PackageReader) -> Processor | None:
        """The package's processor, ready for its first request; None where it has no config/processing.json.

        Raises:
            ConfigError: The document is none that can be used, or its tokenizer does not load; names entry and field
                (code ``processing.unusable``).
            DigestMismatchError: An entry is damaged.
        """

    def check(
        self,
        raw: bytes,
        source: str,
        signature: Signature,
        entries: Mapping[str, Callable[[], bytes]],
        index_bound: Callable[[str], int | None] | None = None,
    ) -> None:
        """Demand that a document fits the model and that its tokenizer loads.

        Args:
            raw: The document.
            source: What to call it in messages.
            signature: Of the model.
            entries: How to read each entry that it may name.
            index_bound: How many rows the table has that an integer input picks from, as far as that is known; the
                tokenizer must give no larger ids. None where the graph is not at hand.

        Raises:
            ConfigError: All its faults at once.
        """
