"""The logs that workers wrote: ``logs/DEPLOYMENT/*.jsonl``, read from where a reader left off."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hyperion.adapters.files.atomic_file import translated
from hyperion.errors import ConfigError

LONGEST_LINE = 64 * 1024


class JsonLinesLog:
    """Implements ports.ServingLog.

    The cursor is JSON: bytes read of each file. A line that is not whole yet is left for the next call; a line
    that is no JSON object (a library wrote to stderr by itself) is given as ``{"message": …}``.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def read(self, deployment: str, cursor: str | None = None) -> tuple[tuple[dict[str, Any], ...], str]:
        """Lines after the cursor; see ports.ServingLog."""
        positions = _parse_cursor(cursor)
        folder = self._root / deployment
        lines: list[dict[str, Any]] = []
        with translated(folder):
            for path in sorted(folder.glob("*.jsonl"), key=_number):
                found, positions[path.name] = _read_from(path, positions.get(path.name, 0))
                lines += found
        lines.sort(key=lambda line: str(line.get("at", "")))  # stable: lines without a time stay where they are
        return tuple(lines), json.dumps(positions)


def _number(path: Path) -> tuple[int, str]:
    digits = path.stem.removeprefix("r")
    return (int(digits) if digits.isdecimal() else 0, path.name)


def _read_from(path: Path, position: int) -> tuple[list[dict[str, Any]], int]:
    lines: list[dict[str, Any]] = []
    with path.open("rb") as stream:
        if position > path.stat().st_size:
            position = 0  # the file was truncated: begin anew
        stream.seek(position)
        for raw in stream:
            if not raw.endswith(b"\n"):
                break
            position += len(raw)
            if text := raw.strip():
                lines.append(_parse_line(text[:LONGEST_LINE]))
    return lines, position


def _parse_line(raw: bytes) -> dict[str, Any]:
    try:
        line = json.loads(raw)
    except ValueError:
        line = None
    return line if isinstance(line, dict) else {"message": raw.decode(errors="replace")}


def _parse_cursor(cursor: str | None) -> dict[str, int]:
    if cursor is None:
        return {}
    try:
        positions = json.loads(cursor)
        return {str(name): int(position) for name, position in positions.items()}
    except (ValueError, AttributeError, TypeError) as error:
        raise ConfigError("the cursor is none of this log's", code="log.cursor") from error
