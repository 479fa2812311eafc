"""Whether a request shows an API key that opens what it asks for."""

from __future__ import annotations

import hmac
from collections.abc import Iterable
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
    """

    def __init__(self, grants: list[KeyGrant] | None = None) -> None:
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


def _scope_of(path: str) -> Scope:
    return Scope.METRICS if path.rstrip("/") == "/metrics" else Scope.INFER
