"""What every stored or exchanged document has in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema
from typing_extensions import TypeAliasType

if TYPE_CHECKING:
    from pydantic import JsonValue
else:
    # Pydantic's own JsonValue asks a Python function for each value's type; a Ctrl-C that arrives in it is lost, for
    # the serializer takes KeyboardInterrupt for "no type found". A plain union never leaves compiled code.
    _Json = TypeAliasType("_Json", "dict[str, _Json] | list[_Json] | str | bool | int | float | None")
    JsonValue = Annotated[_Json, WithJsonSchema({})]

__all__ = ["DeploymentName", "Digest", "Document", "JsonValue", "Many", "ModelName", "WrittenDocument"]

NAME_PATTERN = r"^[a-z0-9][a-z0-9._-]{0,62}$"
DEPLOYMENT_NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"
DIGEST_PATTERN = r"^sha256:[0-9a-f]{64}$"

ModelName = Annotated[str, Field(pattern=NAME_PATTERN)]
DeploymentName = Annotated[str, Field(pattern=DEPLOYMENT_NAME_PATTERN)]
Digest = Annotated[str, Field(pattern=DIGEST_PATTERN)]

Item = TypeVar("Item")
Many = Annotated[tuple[Item, ...], Field(fail_fast=True)]
"""A list in a document that anybody may have written: only its first fault is told, as a million would cost memory."""


class Document(BaseModel):
    """An immutable value with a closed set of keys; types are never coerced.

    Strings are not kept for later documents: the table for them costs each process 400 KiB and more time than it saves.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, populate_by_name=True, cache_strings="none")


class WrittenDocument(Document):
    """A document that people write by hand: ``$schema`` and ``format_version`` are optional in it."""

    schema_reference: str | None = Field(default=None, alias="$schema")
    """Where editors find the JSON Schema."""
    format_version: int = Field(default=1, ge=1, le=1)
    """Version of this document's layout."""
