"""Whether a request shows an API key that opens what it asks for."""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import NamedTuple

from hyperion.domain.access import Scope, parse_token
from hyperion.serving.channel import KeyGrant

SCHEME = b"bearer "
OPEN_PATHS = frozenset({"/v2/health/live", "/v2/health/ready"})
"""For load balancers, which have no key; they say nothing but yes."""
LONGEST_TOKEN = 200


class Refusal(NamedTuple):
    """A request that is not let in."""

    status: int
    cause: str
    message: str


class KeyCheck:
    """The keys that open a deployment.

    Args:
        grants: Them; None where no key is asked for.
        now_s: This host's clock in seconds since 1970: a key expires in its worker, without anybody being told.
    """

    def __init__(self, grants: list[KeyGrant] | None = None, now_s: Callable[[], float] = time.time) -> None:
        self._now_s = now_s
        self._grants = None if grants is None else {grant.id: grant for grant in grants}

    def refusal(self, path: str, headers: Iterable[tuple[bytes, bytes]]) -> Refusal | None:
        """Why this request is not let in; None where it is.

        Args:
            path: As the application sees it.
            headers: With names in lower case.
        """
        if self._grants is None or (path.rstrip("/") or "/") in OPEN_PATHS:
            return None
        shown = [value for name, value in headers if name == b"authorization"]
        if len(shown) != 1 or shown[0][: len(SCHEME)].lower() != SCHEME:
            return Refusal(401, "unauthorized", "an API key is needed: send Authorization: Bearer KEY")
        grant = self._find(shown[0][len(SCHEME) :].strip())
        if grant is None:
            return Refusal(401, "unauthorized", "the API key is not known here")
        if grant.expires_at is not None and self._now_s() >= grant.expires_at:
            return Refusal(401, "key_expired", f"the API key {grant.id} expired at {_told(grant.expires_at)}")
        needed = _scope_of(path)
        if needed in grant.scopes or Scope.ADMIN in grant.scopes:
            return None
        return Refusal(403, "forbidden", f"the API key has not the scope {needed.value!r}, which this takes")

    def _find(self, shown: bytes) -> KeyGrant | None:
        token = parse_token(shown.decode("latin-1")) if len(shown) <= LONGEST_TOKEN else None
        grant = None if token is None or self._grants is None else self._grants.get(token.id)
        if token is None or grant is None or not hmac.compare_digest(token.digest, grant.digest):
            return None
        return grant


def _told(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _scope_of(path: str) -> Scope:
    return Scope.METRICS if path.rstrip("/") == "/metrics" else Scope.INFER
