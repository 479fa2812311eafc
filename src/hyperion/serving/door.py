"""What all connections of a worker share: limits, counters, names, and whether the worker takes or leaves traffic."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from email.utils import formatdate
from typing import Protocol

from hyperion.serving.channel import WorkerLimits
from hyperion.serving.exchange import header_lines
from hyperion.serving.handover import Heirs
from hyperion.serving.keys import KeyCheck, Refusal
from hyperion.serving.telemetry import Slot

Headers = list[tuple[bytes, bytes]]


class Arrivals:
    """A bucket of tokens: one for each new connection, filled at a steady rate, never fuller than one second's worth.

    Args:
        per_second: The rate; None for no limit.
    """

    def __init__(self, per_second: float | None) -> None:
        self._per_second = per_second
        self._most = max(1.0, per_second or 0.0)
        self._left = self._most
        self._at_s: float | None = None

    def admits(self, now_s: float) -> bool:
        """Whether one more may come now; ``now_s`` never goes back."""
        if self._per_second is None:
            return True
        passed_s = 0.0 if self._at_s is None else now_s - self._at_s
        self._left, self._at_s = min(self._most, self._left + passed_s * self._per_second), now_s
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True


class Guest(Protocol):
    """A client's connection, as the door sees it."""

    def move_on(self) -> None:
        """Go to an heir as soon as nothing of a request or an answer is here."""

    def end_if_at_rest(self) -> None:
        """End now, if nothing of a request or an answer is here."""

    def give_up(self) -> None:
        """End now: what is still to be answered gets 503."""


class Door:
    """What all connections of a worker share.

    Attributes:
        connections: Those that are open.
        limits: What a request may take.
        slot: Counters.
        identity_lines: The headers of every answer that say who gave it, as they go over the wire.
        date_line: The same of the time.
        leaving: Whether every connection ends with its newest answer, or the next one where none is to come.
        heirs: Who takes over connections; None while they stay here.
        keys: Which requests show a key that opens what they ask for.
        on_refused: Told status, cause and message of each request that never reached the application.
        on_unread: Told why a connection was cut whose client does not read.
        emptied: Set while there is no connection.
    """

    def __init__(
        self,
        limits: WorkerLimits,
        slot: Slot,
        identity: Headers,
        on_refused: Callable[[int, str, str], None],
        on_unread: Callable[[str], None],
    ) -> None:
        self.connections: set[Guest] = set()
        self.limits = limits
        self.slot = slot
        self.identity = identity
        self.on_refused = on_refused
        self.on_unread = on_unread
        self.leaving = False
        self.heirs: Heirs | None = None
        self.keys = KeyCheck()
        self._arrivals = Arrivals(limits.max_new_connections_per_s)
        self.emptied = asyncio.Event()
        self.refresh_date()

    @property
    def identity(self) -> Headers:
        """The headers of every answer that say who gave it."""
        return self._identity

    @identity.setter
    def identity(self, headers: Headers) -> None:
        self._identity, self.identity_lines = headers, header_lines(headers)

    def crowd_refusal(self) -> Refusal | None:
        """Why the connection that was just made cannot stay; None where it can."""
        most = self.limits.max_connections
        if len(self.connections) > most:
            message = f"{most} connections are open, the most that a worker takes; retry later"
            return Refusal(503, "overloaded", message)
        if not self._arrivals.admits(time.monotonic()):
            message = f"more than {self.limits.max_new_connections_per_s:g} new connections a second; retry later"
            return Refusal(429, "rate_limited", message)
        return None

    @property
    def overrun(self) -> bool:
        """Whether so many are here that no refusal can be spelled out any more."""
        return len(self.connections) > 2 * self.limits.max_connections

    def refresh_date(self) -> None:
        """Renew the header that every answer carries; call once a second."""
        self.date_line = header_lines([(b"date", formatdate(time.time(), usegmt=True).encode())])

    def turn_away(self, heirs: Heirs | None) -> int:
        """Give every connection to ``heirs``, or end it with its next answer; returns how many are still here."""
        if self.heirs is not None:
            self.heirs.close()
        self.heirs = heirs
        if heirs is None:
            self.dismiss()
        else:
            for guest in list(self.connections):
                guest.move_on()
        if not self.connections:
            self.emptied.set()
        return len(self.connections)

    def dismiss(self) -> None:
        """Let every connection end with its next answer, also where heirs could take it later."""
        self.leaving = True

    def welcome(self) -> None:
        """Keep connections again."""
        self.shut()
        self.leaving = False

    def shut(self) -> None:
        """Nobody is left: whoever still comes (another worker may give what it had in work) gets one answer."""
        self.leaving = True
        if self.heirs is not None:
            self.heirs.close()
            self.heirs = None

    def end_idle(self) -> None:
        """Nobody serves these clients any more: end every connection at rest."""
        for guest in list(self.connections):
            guest.end_if_at_rest()

    def cut(self) -> int:
        """Past the deadline: end every connection; returns how many that were."""
        left = list(self.connections)
        for guest in left:
            guest.give_up()
        return len(left)

    def departed(self) -> None:
        """A connection is gone."""
        if not self.connections:
            self.emptied.set()
