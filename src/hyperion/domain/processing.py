"""config/processing.json: what happens before and after the tensors, so that a model takes what a person has.

Declarative and closed: it names files under assets/ and numbers, never code.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from hyperion.domain.document import Document, Many, WrittenDocument

AssetPath = Annotated[str, Field(pattern=r"^assets/")]


class TextInput(Document):
    """Texts, or pairs of texts, through a tokenizer."""

    kind: Literal["text"] = "text"
    tokenizer: AssetPath = "assets/tokenizer.json"
    """A tokenizer.json of Hugging Face's ``tokenizers``."""
    max_tokens: Annotated[int, Field(ge=1, le=1_048_576)]
    """Longer texts are cut."""
    pad_token: str = "[PAD]"  # noqa: S105 - a token of a vocabulary, no secret
    ids: str
    """Name of the input that takes token ids, int64 or int32 [batch, sequence]."""
    mask: str | None = None
    """Name of the input that takes the attention mask."""
    types: str | None = None
    """Name of the input that takes segment ids: 0 for the first text of a pair, 1 for the second."""


class Column(Document):
    """One column of a table: ``(value - offset) / scale`` of a number, or the position of a category."""

    name: str
    kind: Literal["number", "category"] = "number"
    offset: float = 0.0
    scale: float = 1.0
    categories: Many[str] | None = None
    missing: float | None = None
    """Stands for an empty cell (before offset and scale); None where every row must give a value."""


class TableInput(Document):
    """Rows of named columns, in the order in which the model takes them."""

    kind: Literal["table"] = "table"
    input: str
    """Name of the input, [batch, columns]."""
    columns: Many[Column]


class ClassesOutput(Document):
    """Scores of classes, one for each row."""

    kind: Literal["classes"] = "classes"
    output: str
    labels: Many[str]
    activation: Literal["none", "softmax", "sigmoid"] = "none"
    """What turns the output into probabilities; ``none`` where it holds them already."""


class TokensOutput(Document):
    """Scores of classes, one for each token: named entities."""

    kind: Literal["tokens"] = "tokens"
    output: str
    labels: Many[str]
    outside: str = "O"
    """The label of tokens that belong to nothing."""


class VectorOutput(Document):
    """One vector for each row, such as an embedding or a regression."""

    kind: Literal["vector"] = "vector"
    output: str


class Processing(WrittenDocument):
    """config/processing.json."""

    input: Annotated[TextInput | TableInput, Field(discriminator="kind")]
    output: Annotated[ClassesOutput | TokensOutput | VectorOutput, Field(discriminator="kind")]
