"""trust.json: whose signing a host demands of the packages that it serves."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field, field_validator

from hyperion.domain.document import NAME_PATTERN, Document, WrittenDocument

ANY_MODEL = "*"


class TrustRule(Document):
    """Who may sign a model."""

    require: bool = True
    """Whether a package that none of the keys has signed is denied; else it is deployed with a warning."""
    keys: tuple[Annotated[str, Field(min_length=1, max_length=4096)], ...] = ()
    """Public keys: paths, relative to this file's folder, or PEM text. With ``require`` and none, all is denied."""


class TrustPolicy(WrittenDocument):
    """trust.json: whose signing a host demands of a package before it serves it."""

    models: dict[str, TrustRule]
    """Rules by the model's name; ``*`` is for all that no other rule names, and what no rule names is denied.

    A rule has ``keys``: public keys, as paths relative to this file's folder or as PEM text; and ``require`` (true by
    default): whether a package that none of the keys has signed is denied, or only warned of.
    """

    @field_validator("models")
    @classmethod
    def _named(cls, models: dict[str, TrustRule]) -> dict[str, TrustRule]:
        wrong = next((name for name in models if name != ANY_MODEL and not re.match(NAME_PATTERN, name)), None)
        if wrong is not None:
            raise ValueError(f"{wrong[:80]!r} is no model's name, nor '{ANY_MODEL}'")
        return models

    def rule_name(self, model: str) -> str | None:
        """Under which name the rule for a model stands; None where there is no rule for it."""
        return next((name for name in (model, ANY_MODEL) if name in self.models), None)
