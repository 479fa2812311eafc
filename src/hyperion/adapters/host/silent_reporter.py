"""A reporter for callers that only want the result."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


class SilentReporter:
    """Implements ports.Reporter and says nothing; warnings are in the summaries as well."""

    @contextmanager
    def stage(self, title: str, total: int | None = None, unit: str = "") -> Iterator[Callable[[int], None]]:  # noqa: ARG002
        yield lambda _done: None

    def info(self, message: str) -> None: ...

    def warn(self, message: str) -> None: ...
