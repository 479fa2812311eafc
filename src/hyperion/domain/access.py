"""Who may use a deployment over HTTP: API keys with their scopes, and when a deployment may listen beyond loopback."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, NamedTuple

from pydantic import AwareDatetime, Field

from hyperion.domain.config import Serve
from hyperion.domain.document import DeploymentName, Digest, Document

TOKEN_PREFIX = "hyp"  # noqa: S105  (marks a token as ours; opens nothing)
SECRET_BYTES = 32
"""Of chance in a token: too many to guess, so that a plain hash of it keeps it safe."""

NEAR = timedelta(days=14)
"""A key that expires within this time is shown as near its end."""


class Scope(StrEnum):
    """What a key opens."""

    INFER = "infer"
    """Inference, and the documents about model and server."""
    METRICS = "metrics"
    """``/metrics``."""
    ADMIN = "admin"
    """All that the others open. Commands are no part of it: they go through the control socket."""


class Validity(StrEnum):
    """Whether a key opens anything at a time."""

    OPEN = "open"
    NEAR_EXPIRY = "near_expiry"
    """It does, for at most NEAR: its successor should be made now."""
    EXPIRED = "expired"


class ApiKey(Document):
    """What is kept of a key; the token itself is kept nowhere."""

    id: Annotated[str, Field(pattern=r"^[0-9a-f]{8}$")]
    """Stands in the token, so that one digest has to be compared."""
    name: Annotated[str, Field(min_length=1, max_length=100)]
    """Who has it, for people."""
    deployment: DeploymentName | None = None
    """The one that it opens; None for all of this host."""
    scopes: Annotated[tuple[Scope, ...], Field(min_length=1)]
    digest: Digest
    """Of the whole token."""
    created_at: datetime
    expires_at: AwareDatetime | None = None
    """From then on it opens nothing; None: it opens until it is taken away."""

    def opens(self, scope: Scope) -> bool:
        """Whether it opens this as long as it has not expired."""
        return scope in self.scopes or Scope.ADMIN in self.scopes

    def validity(self, at: datetime) -> Validity:
        """Whether it still opens anything then."""
        if self.expires_at is None or at < self.expires_at - NEAR:
            return Validity.OPEN
        return Validity.NEAR_EXPIRY if at < self.expires_at else Validity.EXPIRED


class KeyRing(Document):
    """keys.json in the state folder: the keys of this host."""

    format_version: Annotated[int, Field(ge=1, le=1)] = 1
    keys: tuple[ApiKey, ...] = ()

    def for_deployment(self, name: str) -> tuple[ApiKey, ...]:
        """Those that open something of it."""
        return tuple(key for key in self.keys if key.deployment in (None, name))

    def opens(self, name: str, scope: Scope, at: datetime) -> bool:
        """Whether anybody could use the deployment so then."""
        found = (key for key in self.for_deployment(name) if key.validity(at) is not Validity.EXPIRED)
        return any(key.opens(scope) for key in found)


class Token(NamedTuple):
    """What a client shows: ``hyp_ID_SECRET``."""

    id: str
    secret: str

    def __str__(self) -> str:
        return f"{TOKEN_PREFIX}_{self.id}_{self.secret}"

    @property
    def digest(self) -> str:
        """Unsalted and quick: whoever has it would have to guess 256 bits of chance."""
        return "sha256:" + hashlib.sha256(str(self).encode()).hexdigest()


def parse_token(text: str) -> Token | None:
    """None where it has not the form of ours."""
    prefix, _, rest = text.partition("_")
    identity, _, secret = rest.partition("_")
    return Token(identity, secret) if prefix == TOKEN_PREFIX and identity and secret else None


def what_is_open(serve: Serve, *, has_key: bool) -> tuple[str, ...]:
    """What a deployment that listens beyond loopback lacks; empty where nothing, or where it need not.

    Args:
        serve: Where it listens.
        has_key: Whether there is a key that opens inference.
    """
    if serve.insecure or serve.is_loopback:
        return ()
    lacks = []
    if not serve.require_key:
        lacks.append("serve.require_key")
    elif not has_key:
        lacks.append("an API key with the scope 'infer' ('hyperion key add')")
    if serve.tls is None:
        lacks.append("serve.tls")
    return tuple(lacks)
