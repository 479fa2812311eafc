"""API keys: made, listed and taken away; workers follow within a second, and nothing is restarted."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta

from hyperion.domain.access import SECRET_BYTES, ApiKey, KeyRing, Scope, Token, Validity
from hyperion.domain.document import Document
from hyperion.domain.event import EventDraft, EventKind
from hyperion.errors import ConfigError, ConflictError, NotFoundError
from hyperion.ports import Host, KeyRings
from hyperion.usecases.moment import parse_moment
from hyperion.usecases.record import record_event

ID_BYTES = 4
_DAYS = re.compile(r"([1-9][0-9]{0,4})d")


class KeyShown(Document):
    """A key without what could prove that one has it."""

    id: str
    name: str
    deployment: str | None
    """The one that it opens; None for all of this host."""
    scopes: tuple[Scope, ...]
    created_at: datetime
    expires_at: datetime | None
    """From then on it opens nothing; None: it opens until it is taken away."""
    validity: Validity
    """Whether it opens anything now."""


class KeyAdded(Document):
    """A new key, the only time that its token is told."""

    key: KeyShown
    token: str
    deployment_known: bool
    """Whether this host has, or had, the deployment that it opens; true where it opens all."""


class KeysListed(Document):
    """All keys, oldest first."""

    keys: tuple[KeyShown, ...]


class KeyRemoved(Document):
    """A key that opens nothing any more."""

    key: KeyShown


def add_key(
    host: Host,
    rings: KeyRings,
    name: str,
    scopes: Sequence[Scope],
    deployment: str | None = None,
    expires: str | None = None,
) -> KeyAdded:
    """Make a key of 256 bits of chance; only its digest is kept.

    Args:
        host: Records the event.
        rings: Where the keys are.
        name: Who has it; unique.
        scopes: What it opens; at least one.
        deployment: The one that it opens, which need not exist yet; None for all of this host.
        expires: Days from now (``90d``), or a time as ``usecases.moment.parse_moment`` has it, of a whole day its end;
            None for a key that opens until it is taken away.

    Raises:
        ConflictError: There is a key of that name (code ``key.exists``).
        ConfigError: The name is empty or too long, or the deployment's is none (code ``key.name``); or it would
            expire before it is made, or at no time (``key.expires``).
    """
    now = host.clock.now()
    expires_at = None if expires is None else _expiry(expires, now)
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
        made = _made(token, name, tuple(dict.fromkeys(scopes)), deployment, now, expires_at)
        return ring.model_copy(update={"keys": (*ring.keys, made)})

    key = rings.change(with_one_more).keys[-1]
    _record(host, EventKind.KEY_ADDED, key)
    known = deployment is None or any(found.name == deployment for found in host.ledger.deployments())
    return KeyAdded(key=_shown(key, now), token=str(tokens[-1]), deployment_known=known)


def list_keys(host: Host, rings: KeyRings) -> KeysListed:
    """All of them, those that expired too."""
    now = host.clock.now()
    return KeysListed(keys=tuple(_shown(key, now) for key in rings.load().keys))


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
    return KeyRemoved(key=_shown(removed[-1], host.clock.now()))


def _expiry(text: str, now: datetime) -> datetime:
    """When a key ends that is made now."""
    try:
        days = _DAYS.fullmatch(text.strip())
        at = now + timedelta(days=int(days[1])) if days else _end_of(text)
    except (ConfigError, OverflowError) as error:
        raise ConfigError(
            f"--expires {text[:80]!r}: expected a number of days, or a time",
            hint="write 90d, 2027-02-28 (its end in UTC) or '2027-02-28 18:00 Europe/Berlin'",
            code="key.expires",
        ) from error
    if at <= now:
        raise ConfigError(
            f"--expires {text!r}: the key would have expired at {at.isoformat()}, before it was made",
            hint="name a time to come",
            code="key.expires",
        )
    return at


def _end_of(text: str) -> datetime:
    """The end of the day that ``text`` names, or the moment."""
    period = parse_moment(text)
    return period.end if period.end - period.start > timedelta(seconds=1) else period.start


def _made(
    token: Token,
    name: str,
    scopes: tuple[Scope, ...],
    deployment: str | None,
    now: datetime,
    expires_at: datetime | None,
) -> ApiKey:
    try:
        return ApiKey(
            id=token.id,
            name=name,
            deployment=deployment,
            scopes=scopes,
            digest=token.digest,
            created_at=now,
            expires_at=expires_at,
        )
    except ValueError as error:  # pydantic.ValidationError is one
        raise ConfigError(
            f"the key cannot be made: expected a name of 1 to 100 characters and a deployment's name, "
            f"found {name[:120]!r} and {deployment!r}",
            code="key.name",
        ) from error


def _shown(key: ApiKey, now: datetime) -> KeyShown:
    return KeyShown(
        id=key.id,
        name=key.name,
        deployment=key.deployment,
        scopes=key.scopes,
        created_at=key.created_at,
        expires_at=key.expires_at,
        validity=key.validity(now),
    )


def _record(host: Host, kind: EventKind, key: ApiKey) -> None:
    data = {"id": key.id, "name": key.name, "scopes": ", ".join(key.scopes)}
    if key.expires_at is not None:
        data["expires_at"] = key.expires_at.isoformat()
    draft = EventDraft(kind=kind, deployment=key.deployment, actor=host.facts.user(), data=dict(data))
    record_event(host, draft)
