"""config/processing.json: what happens before and after the tensors, so that a model takes what a person has.

Declarative and closed: it names files under assets/ and numbers, never code. Every key with a default may be left out,
and keys are only ever added, so that a document which is valid today stays valid. A package whose
config/processing.json is none of these documents keeps its tensors and takes no raw inputs (ADR 17).

Whether a document fits the model that it stands beside is told by domain.processing_fit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from hyperion.domain.document import Document, Many, WrittenDocument
from hyperion.domain.tensor import TensorSpec

AssetPath = Annotated[str, Field(pattern=r"^assets/")]
Finite = Annotated[float, Field(allow_inf_nan=False)]

TEXT, TEXT_PAIR = "text", "text_pair"
"""Raw inputs of a model that takes texts."""


class TextInput(Document):
    """Texts, or pairs of texts, through a tokenizer."""

    kind: Literal["text"] = "text"
    tokenizer: AssetPath = "assets/tokenizer.json"
    """A tokenizer.json of Hugging Face's ``tokenizers``."""
    max_tokens: Annotated[int, Field(ge=1, le=1_048_576)]
    """Longer texts are cut, special tokens counted in."""
    pad_token: str = "[PAD]"  # noqa: S105 - a token of a vocabulary, no secret
    ids: str
    """Name of the input that takes token ids, int64 or int32 [batch, sequence]."""
    mask: str | None = None
    """Name of the input that takes the attention mask."""
    types: str | None = None
    """Name of the input that takes segment ids: 0 for the first text of a pair, 1 for the second."""

    @property
    def filled(self) -> dict[str, str]:
        """The key of this document by the name of the input that it fills."""
        named = {"ids": self.ids, "mask": self.mask, "types": self.types}
        return {name: key for key, name in named.items() if name is not None}


class Column(Document):
    """One column of a table: ``(value - offset) / scale`` of a number or of the position of a category, from 0."""

    name: str
    kind: Literal["number", "category"] = "number"
    offset: Finite = 0.0
    scale: Finite = 1.0
    categories: Many[str] | None = None
    """All values of a category, others are refused; needed unless the model takes the text itself."""
    missing: Finite | Literal["nan"] | None = None
    """Stands for an empty cell (before offset and scale): ``nan`` for a model that deals with missing values itself,
    None where every row must give a value."""
    input: str | None = None
    """An input of the model for this column alone, [batch] or [batch, 1]; None for its place in the table's input.
    One that takes text is given a category as it is."""

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if self.scale == 0:
            raise ValueError("the scale of a column cannot be 0")
        if self.kind == "number" and self.categories is not None:
            raise ValueError("a column of numbers has no categories")
        if self.categories is not None and (twice := _twice(self.categories)):
            raise ValueError(f"the category {twice!r} stands twice in one column")
        return self


class TableInput(Document):
    """Rows of named columns, in the order in which the model takes them."""

    kind: Literal["table"] = "table"
    input: str | None = None
    """Name of the input, [batch, columns], of all columns that name no input of their own."""
    columns: Annotated[Many[Column], Field(min_length=1)]

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if twice := _twice(column.name for column in self.columns):
            raise ValueError(f"the column {twice!r} stands twice in one table")
        if own := _twice(column.input for column in self.columns if column.input is not None):
            raise ValueError(f"the input {own!r} is the own input of two columns")
        return self

    def placed(self) -> dict[str | None, tuple[Column, ...]]:
        """The columns by the input that takes them, each in order; under None those for which none is named."""
        found: dict[str | None, tuple[Column, ...]] = {}
        for column in self.columns:
            name = column.input or self.input
            found[name] = (*found.get(name, ()), column)
        return found


class ClassesOutput(Document):
    """Scores of classes, one for each row."""

    kind: Literal["classes"] = "classes"
    output: str
    labels: Annotated[Many[str], Field(min_length=2)]
    """In the order of the last axis; two labels may also share one sigmoid: its value is that of the second."""
    activation: Literal["none", "softmax", "sigmoid"] = "none"
    """What turns the output into probabilities; ``none`` where it holds them already."""

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if twice := _twice(self.labels):
            raise ValueError(f"the label {twice!r} stands twice")
        return self


class TokensOutput(Document):
    """Scores of classes, one for each token: named entities.

    Labels may begin with ``B-`` and ``I-`` (begins, is inside); neighbouring tokens of one entity become one span.
    """

    kind: Literal["tokens"] = "tokens"
    output: str
    labels: Annotated[Many[str], Field(min_length=2)]
    outside: str = "O"
    """The label of tokens that belong to nothing; where it is the default and no label, every token belongs."""
    activation: Literal["none", "softmax"] = "softmax"
    """What turns the output into probabilities."""
    words: Literal["each-token", "first-token"] = "each-token"
    """Whether every token has a label of its own, or all tokens of a word have that of its first."""


class VectorOutput(Document):
    """One vector for each row, such as an embedding or a regression."""

    kind: Literal["vector"] = "vector"
    output: str
    pooling: Literal["none", "mean", "first"] = "none"
    """Of an output with one vector for each token: their mean under the attention mask, or the first."""
    normalize: bool = False
    """Whether vectors are divided by their Euclidean length."""


class Processing(WrittenDocument):
    """config/processing.json."""

    input: Annotated[TextInput | TableInput, Field(discriminator="kind")]
    output: Annotated[ClassesOutput | TokensOutput | VectorOutput, Field(discriminator="kind")]

    @property
    def raw_inputs(self) -> tuple[TensorSpec, ...]:
        """What a caller sends in place of tensors, as one text or number for each row."""
        if isinstance(self.input, TextInput):
            texts = TensorSpec(name=TEXT, dtype="string", shape=("batch",))
            return (texts, texts.model_copy(update={"name": TEXT_PAIR, "optional": True}))
        return tuple(
            TensorSpec(
                name=column.name,
                dtype="float64" if column.kind == "number" else "string",
                shape=("batch",),
                optional=column.missing is not None,
            )
            for column in self.input.columns
        )


def _twice(values: Iterable[str]) -> str | None:
    return next((value for value, count in Counter(values).items() if count > 1), None)
