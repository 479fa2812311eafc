"""What a worker writes to its log: JSON lines on stderr, which its supervisor appended to the deployment's log."""

from __future__ import annotations

import contextlib
import logging
import sys
import time
import traceback
from datetime import UTC, datetime
from typing import Any

import orjson

LINES_PER_SECOND = 20
"""Of failed requests; what is beyond is counted and said with the next line, so that a flood fills no disk."""
LONGEST_TEXT = 2000


class FailureLog:
    """Log lines with the worker's identity; never holds inputs or outputs."""

    def __init__(self, deployment: str, revision: int, worker: str) -> None:
        self._identity: dict[str, Any] = {"deployment": deployment, "revision": revision, "worker": worker}
        self._second = 0
        self._lines = 0
        self._suppressed = 0

    def rename(self, revision: int, worker: str) -> None:
        """From here on the lines are of another revision."""
        self._identity |= {"revision": revision, "worker": worker}

    def write(
        self, cause: str, status: int, message: str, request_id: str | None = None, error: Exception | None = None
    ) -> None:
        """One failed request."""
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._lines = second, 0
        self._lines += 1
        if self._lines > LINES_PER_SECOND:
            self._suppressed += 1
            return
        fields: dict[str, Any] = {"cause": cause, "status": status, "request_id": request_id and request_id[:200]}
        if self._suppressed:
            fields["suppressed"], self._suppressed = self._suppressed, 0
        if error is not None:
            fields["trace"] = "".join(traceback.format_exception(error))[-LONGEST_TEXT:]
        self.event("request.failed", message, level="error", **fields)

    def event(self, kind: str, message: str, level: str = "info", **fields: Any) -> None:
        """Anything else that is worth a line."""
        line = {"at": datetime.now(UTC), "level": level, "event": kind, "message": message[:LONGEST_TEXT]}
        encoded = orjson.dumps(line | fields | self._identity, option=orjson.OPT_APPEND_NEWLINE)
        with contextlib.suppress(OSError):  # a full disk costs log lines, and no answer
            sys.stderr.buffer.write(encoded)
            sys.stderr.buffer.flush()


class LoggingBridge(logging.Handler):
    """Brings what libraries log into the same lines."""

    def __init__(self, log: FailureLog) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        trace = None
        if record.exc_info and record.exc_info[1] is not None:
            trace = "".join(traceback.format_exception(record.exc_info[1]))[-LONGEST_TEXT:]
        extra = {"trace": trace} if trace else {}
        self._log.event("library", record.getMessage(), level=record.levelname.lower(), logger=record.name, **extra)
