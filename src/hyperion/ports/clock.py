"""Time."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

# Only types are spoken of here: the supervisor needs no numpy, and a worker's start is waited for.


class Clock(Protocol):
    def now(self) -> datetime:
        """The wall clock, UTC."""

    def monotonic(self) -> float:
        """Seconds that never go back; for deadlines and durations."""

    def sleep(self, seconds: float) -> None: ...
