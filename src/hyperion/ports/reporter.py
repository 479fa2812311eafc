"""Progress."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

# Only types are spoken of here: the supervisor needs no numpy, and a worker's start is waited for.


class Reporter(Protocol):
    """Where use cases tell their progress; the command line draws it, tests collect it."""

    def stage(
        self, title: str, total: int | None = None, unit: str = ""
    ) -> AbstractContextManager[Callable[[int], None]]:
        """A step of the work. Call the yielded function with the amount newly done (bytes where unit is "B")."""

    def info(self, message: str) -> None: ...

    def warn(self, message: str) -> None: ...
