"""A reporter that keeps what it is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


class CollectingReporter:
    """Implements ports.Reporter."""

    def __init__(self) -> None:
        self.stages: list[str] = []
        self.infos: list[str] = []
        self.warnings: list[str] = []

    @contextmanager
    def stage(self, title: str, total: int | None = None, unit: str = "") -> Iterator[Callable[[int], None]]:
        self.stages.append(title)
        yield lambda amount: None

    def info(self, message: str) -> None:
        self.infos.append(message)

    def warn(self, message: str) -> None:
        self.warnings.append(message)
