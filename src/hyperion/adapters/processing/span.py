"""Scores of every token to labelled spans of the text: named entities.

Labels with ``B-`` (begins) and ``I-`` (is inside) follow Ramshaw and Marcus, Text Chunking using Transformation-Based
Learning, 1995; labels without are read as if every token were inside. A token that is inside continues the span before
it where that one has the same label and ends at the token before; else it begins a span, as lenient readers have it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from hyperion.adapters.processing.answer import expected_rows, mismatch, softmax
from hyperion.domain.prediction import Prediction, Span, SpanPrediction
from hyperion.domain.processing import TokensOutput
from hyperion.domain.tensor import TensorSpec
from hyperion.ports import Array, Encoded, Tensors, TokenPlaces

SPANS = "spans"
_PARTS: tuple[Literal["text", "text_pair"], ...] = ("text", "text_pair")


@dataclass
class _Open:
    """A span that may go on."""

    label: str
    part: int
    start: int
    end: int
    last: int
    """Number of its last token."""
    scores: list[float] = field(default_factory=list)


class SpanAnswers:
    """Labelled spans of each row."""

    def __init__(self, output: TokensOutput) -> None:
        self._output = output
        self._tags = [_split(label) for label in output.labels]
        self._outside = output.labels.index(output.outside) if output.outside in output.labels else None

    @property
    def specs(self) -> tuple[TensorSpec, ...]:
        return (TensorSpec(name=SPANS, dtype="string", shape=("batch",)),)

    def tensors(self, encoded: Encoded, outputs: Tensors) -> dict[str, Array]:
        """One JSON list of spans for each row; see ports.Processor.answers."""
        found = [[span.model_dump() for span in row] for row in self._rows(encoded, outputs)]
        return {SPANS: np.array([json.dumps(row, ensure_ascii=False) for row in found], dtype=object)}

    def predictions(self, encoded: Encoded, outputs: Tensors) -> tuple[Prediction, ...]:
        return tuple(SpanPrediction(spans=tuple(row)) for row in self._rows(encoded, outputs))

    def _rows(self, encoded: Encoded, outputs: Tensors) -> Iterator[list[Span]]:
        given = expected_rows(outputs, self._output.output, encoded.rows)
        tokens = 0 if encoded.mask is None else encoded.mask.shape[1]
        wanted = (encoded.rows, tokens, len(self._output.labels))
        if given.shape != wanted:
            raise mismatch(self._output.output, f"shape {list(wanted)}", given.shape)
        scores = given.astype(np.float64)
        if self._output.activation == "softmax":
            scores = softmax(scores)
        for places, row in zip(encoded.places, scores, strict=True):
            best = row.argmax(axis=1)
            yield self._spans(places, best.tolist(), row[np.arange(tokens), best].tolist())

    def _spans(self, places: TokenPlaces, classes: list[int], scores: list[float]) -> list[Span]:
        """The spans of one row; ``classes`` and ``scores`` are of each token, padding included."""
        spans: list[_Open] = []
        word: tuple[int | None, int | None] = (None, None)
        first = 0
        for token, ((start, end), number, part) in enumerate(
            zip(places.offsets, places.words, places.parts, strict=True)
        ):
            if part is None or start == end:
                continue
            inside_word = self._output.words == "first-token" and number is not None and (part, number) == word
            if not inside_word:
                first, word = token, (part, number)
            chosen = classes[first]
            if chosen == self._outside:
                continue
            begins, label = self._tags[chosen]
            last = spans[-1] if spans else None
            joins = last is not None and (last.label, last.part, last.last) == (label, part, token - 1)
            if last is None or not joins or (begins and not inside_word):
                last = _Open(label, part, start, end, token)
                spans.append(last)
            last.end, last.last = end, token
            last.scores.append(scores[first])
        return [_closed(span, places.texts) for span in spans]


def _split(label: str) -> tuple[bool, str]:
    """Whether a label begins a span, and the label without its prefix."""
    if label[:2] in ("B-", "I-") and len(label) > 2:
        return label[0] == "B", label[2:]
    return False, label


def _closed(span: _Open, texts: tuple[str, ...]) -> Span:
    return Span(
        label=span.label,
        score=float(np.float32(np.mean(span.scores))),
        start=span.start,
        end=span.end,
        text=texts[span.part][span.start : span.end],
        part=_PARTS[span.part],
    )
