"""Heartbeats: whether a worker still does anything.

A process can live and do nothing: stopped by a signal, or caught in its event loop. A worker is asked once a second,
and answers from its event loop. That loop may be held up by one inference for as long as a request may take, and by
several in a row; so whoever counts anything meanwhile lives, and the patience is longer than a request.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

BEAT_S = 1.0
"""Between two questions."""
MARGIN_S = 5.0
"""Beyond the longest request."""
HALTED_BEATS = 3
"""A worker that is stopped by a signal for so many questions in a row is given up: nothing excuses it."""


class Patience(NamedTuple):
    """What excuses a worker's silence."""

    request_timeout_s: float
    """The longest that one inference may hold it up."""
    counted: Callable[[str], object]
    """What the worker of this name has counted so far; any change shows that it lives."""


class Pulse:
    """The judgement on one worker, asked ``tick`` by ``tick``.

    It counts questions and not seconds: where the supervisor itself stood still, no time has passed for it either, and
    it hears the answers that wait before it asks again.

    Args:
        request_timeout_s: The longest that one inference may hold the worker up.
        progress: What the worker has counted so far; any change shows that it lives.
        halted: Whether it is stopped by a signal.
    """

    def __init__(self, request_timeout_s: float, progress: Callable[[], object], halted: Callable[[], bool]) -> None:
        self.fault: str | None = None
        """Why the worker is to be ended."""
        self._patience_s = request_timeout_s + MARGIN_S
        self._progress = progress
        self._halted = halted
        self._asked = 0
        self._answered = 0
        self._seen: object = None
        self._silent = 0
        self._stopped = 0

    def answered(self, number: int) -> None:
        """The worker answered this question; those before it are settled too."""
        self._answered = max(self._answered, number)

    def tick(self) -> int | None:
        """The number of the question to ask now; None while the last one is open. ``fault`` may be set afterwards."""
        self._stopped = self._stopped + 1 if self._halted() else 0
        if self._stopped >= HALTED_BEATS:
            self.fault = f"it was stopped by a signal and did nothing for {self._stopped * BEAT_S:g} s"
        if self._asked == self._answered:
            self._silent, self._seen = 0, None
            self._asked += 1
            return self._asked
        seen = self._progress()
        self._silent = self._silent + 1 if seen == self._seen else 1
        self._seen = seen
        if self._silent * BEAT_S > self._patience_s:
            self.fault = f"it hung: it answered nothing and counted nothing for {self._patience_s:g} s"
        return None
