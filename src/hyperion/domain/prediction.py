"""What a model says of one row, in the words of its config/processing.json."""

from __future__ import annotations

from typing import Literal

from hyperion.domain.document import Document


class ClassPrediction(Document):
    """The likeliest class."""

    kind: Literal["class"] = "class"
    label: str
    score: float
    """Of the label."""
    scores: dict[str, float]
    """By label, in the order of the classes."""


class Span(Document):
    """A stretch of the text that has one label."""

    label: str
    score: float
    """Mean over its tokens."""
    start: int
    """Its first character, counted from 0 in Unicode code points."""
    end: int
    """The character after its last one."""
    text: str
    part: Literal["text", "text_pair"] = "text"
    """Which text of a pair it stands in."""


class SpanPrediction(Document):
    """The labelled spans of a text, in its order."""

    kind: Literal["spans"] = "spans"
    spans: tuple[Span, ...]


class VectorPrediction(Document):
    """One vector."""

    kind: Literal["vector"] = "vector"
    values: tuple[float, ...]


Prediction = ClassPrediction | SpanPrediction | VectorPrediction
