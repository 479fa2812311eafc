"""Serving logs in memory."""

from __future__ import annotations

from typing import Any


class InMemoryLog:
    """Implements ports.ServingLog; its cursor is the number of lines read."""

    def __init__(self) -> None:
        self.lines: dict[str, list[dict[str, Any]]] = {}

    def read(self, deployment: str, cursor: str | None = None) -> tuple[tuple[dict[str, Any], ...], str]:
        lines = self.lines.get(deployment, [])
        return tuple(lines[int(cursor or 0) :]), str(len(lines))
