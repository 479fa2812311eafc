"""Watch the errors of a deployment, each with its cause, and append them to a log of one's own."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hyperion.domain.event import Event, EventKind
from hyperion.domain.metrics import ErrorLine, ErrorRound
from hyperion.errors import ConflictError, HostError
from hyperion.ports import Host, Reporter
from hyperion.usecases.monitor_window import served_revision

ERROR_FORMAT = "hyperion.error"
TAIL_BYTES = 256 * 1024
_EVENTS = {
    EventKind.WORKER_EXITED: "worker_exited",
    EventKind.WORKERS_GAVE_UP: "workers_gave_up",
    EventKind.ROLLOUT_ABORTED: "rollout_aborted",
}


def error_rounds(
    host: Host,
    path: Path,
    name: str | None,
    interval_s: float,
    *,
    log: Path | None = None,
    count: int | None = None,
    reporter: Reporter,
) -> Iterator[ErrorRound]:
    """New errors of the deployment that serves a package: failed requests, crashed workers, aborted rollouts.

    The first round tells what was not told yet: where ``log`` exists it goes on from its last line, else it begins
    with the oldest line of the serving log.

    Args:
        host: This host.
        path: Package in any form.
        name: The deployment, where several serve the package.
        interval_s: Seconds between rounds.
        log: File to append JSON lines (domain.metrics.ErrorLine) to; None for nowhere.
        count: Rounds until the end, None for no end.
        reporter: Warned where the package is not the one that is active now.

    Raises:
        NotFoundError: There is no package, or no deployment serves it.
        ConflictError: ``log`` exists and is not ours (code ``errors_log.not_ours``), or several deployments match.
        HostError: ``log`` cannot be written.
    """
    deployment = served_revision(host, path, name, reporter).deployment
    cursor = _Cursor(None, 0) if log is None else _resume(log, deployment)
    told_at: float | None = None
    done = 0
    while count is None or done < count:
        if done:
            host.clock.sleep(interval_s)
        errors, cursor = _new_errors(host, deployment, cursor)
        if log is not None and (errors or not log.exists()):  # an empty log says: watched, and nothing failed
            _append(log, errors)
        now = host.clock.monotonic()
        yield ErrorRound(
            deployment=deployment,
            measured_at=host.clock.now(),
            window_s=None if told_at is None else now - told_at,
            by_cause=dict(Counter(error.cause for error in errors)),
            errors=errors,
        )
        told_at = now
        done += 1


class _Cursor:
    """What was told already: a place in the serving log, and the last event of the ledger."""

    def __init__(self, log: str | None, sequence: int) -> None:
        self.log, self.sequence = log, sequence

    def __str__(self) -> str:
        return json.dumps([self.log, self.sequence])

    @classmethod
    def parse(cls, text: str) -> _Cursor:
        """Read what ``str`` gives; raises ValueError for anything else."""
        found = json.loads(text)
        if not isinstance(found, list) or len(found) != 2 or not isinstance(found[1], int):
            raise ValueError("no cursor")
        return cls(None if found[0] is None else str(found[0]), found[1])


def _new_errors(host: Host, deployment: str, cursor: _Cursor) -> tuple[tuple[ErrorLine, ...], _Cursor]:
    lines, place = host.log.read(deployment, cursor.log)
    events = host.ledger.events(deployment, tuple(_EVENTS), cursor.sequence)
    after = _Cursor(place, events[-1].sequence if events else cursor.sequence)
    errors = [_of_line(line, deployment, str(after)) for line in lines if _is_error(line)]
    errors += [_of_event(event, deployment, str(after)) for event in events]
    return tuple(sorted(errors, key=lambda error: error.at or "")), after


def _is_error(line: dict[str, Any]) -> bool:
    """Lines without a level were written by no one of ours: the engine, or a crashing interpreter."""
    return line.get("level", "error") in ("error", "critical")


def _of_line(line: dict[str, Any], deployment: str, cursor: str) -> ErrorLine:
    return ErrorLine(
        at=_text(line.get("at")),
        cause=_text(line.get("cause")) or ("log" if "level" in line else "stderr"),
        message=_text(line.get("message")) or json.dumps(line, default=str),
        deployment=deployment,
        revision=_whole(line.get("revision")),
        worker=_text(line.get("worker")),
        request_id=_text(line.get("request_id")),
        status=_whole(line.get("status")),
        suppressed=_whole(line.get("suppressed")),
        cursor=cursor,
    )


def _of_event(event: Event, deployment: str, cursor: str) -> ErrorLine:
    return ErrorLine(
        at=event.at.isoformat(),
        cause=_EVENTS[EventKind(event.kind)],
        message=str(event.data.get("reason") or event.kind),
        deployment=deployment,
        revision=event.revision,
        worker=_text(event.data.get("worker")),
        cursor=cursor,
    )


def _resume(log: Path, deployment: str) -> _Cursor:
    """Where the last line of ``log`` for this deployment says to go on."""
    try:
        with log.open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(0, size - TAIL_BYTES))
            lines = stream.read().splitlines()[1 if size > TAIL_BYTES else 0 :]
    except FileNotFoundError:
        return _Cursor(None, 0)
    except OSError as error:
        raise HostError(f"cannot read {log}: {error.strerror}", code="errors_log.unreadable") from error
    ours = [line for line in map(_parse, lines) if line is not None]
    if lines and not ours:
        raise ConflictError(
            f"{log} exists and was not written by 'hyperion monitor errors'; it was not touched",
            hint="name another file, or remove this one",
            code="errors_log.not_ours",
        )
    mine = [line for line in ours if line.get("deployment") == deployment]
    try:
        return _Cursor.parse(str(mine[-1]["cursor"])) if mine else _Cursor(None, 0)
    except (ValueError, KeyError):
        return _Cursor(None, 0)


def _parse(raw: bytes) -> dict[str, Any] | None:
    """One line of ours; None for any other, such as the torn last one of a full disk."""
    try:
        line = json.loads(raw)
    except ValueError:
        return None
    return line if isinstance(line, dict) and line.get("format") == ERROR_FORMAT else None


def _append(log: Path, errors: tuple[ErrorLine, ...]) -> None:
    lines = b"".join(error.model_dump_json(exclude_none=True).encode() + b"\n" for error in errors)
    try:
        with log.open("ab") as stream:
            stream.write(lines)
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        raise HostError(
            f"cannot append to {log}: {error.strerror}", hint="check the space and the permissions there"
        ) from error


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
