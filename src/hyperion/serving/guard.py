"""Whom deployments let in: keys and certificates, read again when their files change, and told to the workers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Generic, TypeVar

from hyperion.domain.access import KeyRing, Scope, Validity, what_is_open
from hyperion.domain.config import DeploymentConfig, Serve, TlsFiles
from hyperion.domain.deployment import Revision
from hyperion.errors import ConfigError, HyperionError, Problem
from hyperion.format.file_stamp import file_stamp
from hyperion.ports import KeyRings
from hyperion.serving.channel import Credentials, Guard, KeyGrant
from hyperion.serving.tls import load_credentials

LOOK_S = 0.25
"""How often the files are looked at: a change reaches every worker within a second."""

Value = TypeVar("Value")
_WORDS = {Validity.NEAR_EXPIRY: "expires at", Validity.EXPIRED: "expired at"}
_log = logging.getLogger(__name__)


class Watched(Generic[Value]):
    """What files hold: read again when they changed; where that fails, what they held before.

    Args:
        stamp: Equal as long as nothing changed.
        load: Reads them.
    """

    def __init__(self, stamp: Callable[[], object], load: Callable[[], Value]) -> None:
        self._stamp = stamp
        self._load = load
        self._seen: object = None
        self._held: list[Value] = []
        self.fault: str | None = None
        """Why the present files are not used."""

    def latest(self) -> Value:
        """What is to be used now.

        Raises:
            HyperionError: It could never be read so far.
        """
        stamp = self._stamp()
        if not self._held or stamp != self._seen:
            self._seen = stamp
            try:
                self._held = [self._load()]
            except HyperionError as error:
                self.fault = error.message
                if not self._held:
                    raise
                _log.warning("what was read before stays in use: %s", error.message)
            else:
                self.fault = None
        return self._held[0]


class Guards:
    """Guards of all deployments of a supervisor.

    Args:
        keys: Where the host's keys are.
    """

    def __init__(self, keys: KeyRings) -> None:
        self._ring: Watched[KeyRing] = Watched(keys.stamp, keys.load)
        self._tls: dict[TlsFiles, Watched[Credentials]] = {}

    def of(self, revision: Revision) -> Guard:
        """What a worker of the revision is told.

        Raises:
            ConfigError: Its keys or certificates were never readable (codes ``keys.malformed``, ``config.tls``).
        """
        serve = revision.config.serve
        tls = None if serve.tls is None else self._watched(serve.tls).latest()
        return Guard(self._grants(revision.deployment) if serve.require_key else None, tls)

    def faults(self, serve: Serve) -> tuple[str, ...]:
        """What of it could not be read anew, so that the workers go on with what was there before."""
        found = [self._ring.fault] if serve.require_key else []
        if serve.tls is not None:
            found.append(self._watched(serve.tls).fault)
        return tuple(f"{fault}; workers go on with what they were told" for fault in found if fault is not None)

    def ends_of_keys(self, revision: Revision) -> tuple[str, ...]:
        """Keys of its deployment that expired, or will soon."""
        if not revision.config.serve.require_key:
            return ()
        now, keys = datetime.now(UTC), self._ring.latest().for_deployment(revision.deployment)
        return tuple(
            f"the API key {key.name!r} {_WORDS[validity]} {key.expires_at:%Y-%m-%d %H:%M:%SZ} ('hyperion key list')"
            for key in keys
            if (validity := key.validity(now)) in _WORDS
        )

    def require(self, config: DeploymentConfig) -> None:
        """Demand that the deployment is guarded as far as it is reached, and that its certificate can be served.

        Raises:
            ConfigError: It listens beyond loopback, and anyone there could use or overhear it (code
                ``config.insecure_host``); or keys or certificates cannot be read (``keys.malformed``, ``config.tls``).
        """
        serve, name = config.serve, config.name or ""
        if serve.tls is not None:
            self._watched(serve.tls).latest()
        has_key = not serve.require_key or self._ring.latest().opens(name, Scope.INFER, datetime.now(UTC))
        lacks = what_is_open(serve, has_key=has_key)
        if lacks:
            raise ConfigError(
                f"serve.host is {serve.host!r}: whoever reaches this host could use the model or listen in; "
                f"missing: {', '.join(lacks)}",
                problems=[Problem("serve.host", f"expected a loopback address, or {' and '.join(lacks)}")],
                hint="add what is missing, serve on 127.0.0.1 behind a proxy that authenticates, or say "
                "serve.insecure or --insecure",
                code="config.insecure_host",
            )

    def _grants(self, name: str) -> list[KeyGrant]:
        keys = self._ring.latest().for_deployment(name)
        return [
            KeyGrant(
                key.id,
                key.digest,
                [scope.value for scope in key.scopes],
                None if key.expires_at is None else key.expires_at.timestamp(),
            )
            for key in keys
        ]

    def _watched(self, files: TlsFiles) -> Watched[Credentials]:
        if files not in self._tls:
            places = Path(files.certificate), Path(files.key)
            self._tls[files] = Watched(
                lambda: tuple(file_stamp(place) for place in places), lambda: load_credentials(files)
            )
        return self._tls[files]


async def keep_renewing(renewals: Callable[[], Iterable[Callable[[], None]]]) -> None:
    """Have every deployment tell its workers what changed, again and again, until cancelled."""
    while True:
        await asyncio.sleep(LOOK_S)
        for renew in tuple(renewals()):
            renew()
