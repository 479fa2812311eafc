"""API keys: made, listed and taken away; workers follow within a second, and nothing is restarted."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import datetime

from hyperion.domain.access import SECRET_BYTES, ApiKey, KeyRing, Scope, Token
from hyperion.domain.document import Document
from hyperion.domain.event import EventDraft, EventKind
from hyperion.errors import ConfigError, ConflictError, NotFoundError
from hyperion.ports import Host, KeyRings
from hyperion.usecases.record import record_event

ID_BYTES = 4


class KeyShown(Document):
    """A key without what could prove that one has it."""

    id: str
    name: str
    deployment: str | None
    """The one that it opens; None for all of this host."""
    scopes: tuple[Scope, ...]
    created_at: datetime


class KeyAdded(Document):
    """A new key, the only time that its token is told."""

    key: KeyShown
    token: str


class KeysListed(Document):
    """All keys, oldest first."""

    keys: tuple[KeyShown, ...]


class KeyRemoved(Document):
    """A key that opens nothing any more."""

    key: KeyShown


def add_key(host: Host, rings: KeyRings, name: str, scopes: Sequence[Scope], deployment: str | None = None) -> KeyAdded:
    """Make a key of 256 bits of chance; only its digest is kept.

    Args:
        host: Records the event.
        rings: Where the keys are.
        name: Who has it; unique.
        scopes: What it opens; at least one.
        deployment: The one that it opens, which need not exist yet; None for all of this host.

    Raises:
        ConflictError: There is a key of that name (code ``key.exists``).
        ConfigError: The name is empty or too long, or the deployment's is none (code ``key.name``).
    """
    now = host.clock.now()
    tokens: list[Token] = []

    def with_one_more(ring: KeyRing) -> KeyRing:
        if any(key.name == name for key in ring.keys):
            raise ConflictError(
                f"there is a key named {name!r}",
                hint="choose another name; 'hyperion key list' shows them, 'hyperion key remove' takes one away",
                code="key.exists",
            )
        taken = {key.id for key in ring.keys}
        identity = secrets.token_hex(ID_BYTES)
        while identity in taken:
            identity = secrets.token_hex(ID_BYTES)
        token = Token(identity, secrets.token_urlsafe(SECRET_BYTES))
        tokens.append(token)
        made = _made(token, name, tuple(dict.fromkeys(scopes)), deployment, now)
        return ring.model_copy(update={"keys": (*ring.keys, made)})

    key = rings.change(with_one_more).keys[-1]
    _record(host, EventKind.KEY_ADDED, key)
    return KeyAdded(key=_shown(key), token=str(tokens[-1]))


def list_keys(rings: KeyRings) -> KeysListed:
    """All of them."""
    return KeysListed(keys=tuple(map(_shown, rings.load().keys)))


def remove_key(host: Host, rings: KeyRings, which: str) -> KeyRemoved:
    """Take a key away; whoever shows it is refused within a second.

    Args:
        host: Records the event.
        rings: Where the keys are.
        which: Its id or its name.

    Raises:
        NotFoundError: There is none (code ``key.not_found``).
    """
    removed: list[ApiKey] = []

    def without_it(ring: KeyRing) -> KeyRing:
        found = [key for key in ring.keys if which in (key.id, key.name)]
        if not found:
            raise NotFoundError(
                f"there is no key {which!r}",
                hint="'hyperion key list' shows those that there are",
                code="key.not_found",
            )
        chosen = next((key for key in found if key.id == which), found[0])
        removed.append(chosen)
        return ring.model_copy(update={"keys": tuple(key for key in ring.keys if key is not chosen)})

    rings.change(without_it)
    _record(host, EventKind.KEY_REMOVED, removed[-1])
    return KeyRemoved(key=_shown(removed[-1]))


def _made(token: Token, name: str, scopes: tuple[Scope, ...], deployment: str | None, now: datetime) -> ApiKey:
    try:
        return ApiKey(id=token.id, name=name, deployment=deployment, scopes=scopes, digest=token.digest, created_at=now)
    except ValueError as error:  # pydantic.ValidationError is one
        raise ConfigError(
            f"the key cannot be made: expected a name of 1 to 100 characters and a deployment's name, "
            f"found {name[:120]!r} and {deployment!r}",
            code="key.name",
        ) from error


def _shown(key: ApiKey) -> KeyShown:
    return KeyShown(id=key.id, name=key.name, deployment=key.deployment, scopes=key.scopes, created_at=key.created_at)


def _record(host: Host, kind: EventKind, key: ApiKey) -> None:
    data = {"id": key.id, "name": key.name, "scopes": ", ".join(key.scopes)}
    draft = EventDraft(kind=kind, deployment=key.deployment, actor=host.facts.user(), data=dict(data))
    record_event(host, draft)
