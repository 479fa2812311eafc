"""Taking over what a converting child left: it may have run hostile code, so nothing there is what it seems."""

from __future__ import annotations

import os
import signal
import stat
from pathlib import Path

from pydantic import ValidationError

from hyperion.adapters.conversion.protocol import REPORT, RESULT, WORK, ConversionReport
from hyperion.adapters.sandbox.child_start import OUTPUT_TEXT
from hyperion.errors import EngineError, HostError, ModelSourceError, error_from

LARGEST_REPORT_BYTES = 1 << 20
LAST_WORDS_BYTES = 2_000


def read_report(work: Path, code: int) -> ConversionReport:
    """The child's report.

    Raises:
        HyperionError: The error that it holds.
        EngineError: There is none, or none that can be read (code ``engine.crashed``).
    """
    data = _plain_bytes(work / REPORT)
    if data is None:
        raise _crash(work, code)
    try:
        report = ConversionReport.model_validate_json(data)
    except ValidationError as error:
        raise EngineError("the conversion's report cannot be read", code="engine.crashed") from error
    if report.error is not None:
        raise error_from(report.error, report.details)
    return report


def take_result(folder: Path) -> Path:
    """Move the converted model to where no process of the child can change it any more, and look it over.

    Landlock lets the child write below its own folder only; what is moved out of it is out of reach also for a
    process that outlived the conversion.

    Raises:
        ModelSourceError: There is something else than plain files and folders.
    """
    result = folder / RESULT
    try:
        (folder / WORK / RESULT).rename(result)
    except OSError as error:
        raise HostError(f"the conversion left no model in {folder}: {error.strerror}") from error
    _demand_plain(result)
    for item in result.rglob("*"):
        _demand_plain(item)
    return result


def _demand_plain(item: Path) -> None:
    mode = item.lstat().st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise ModelSourceError(
            f"the conversion left {item.name}, which is no plain file",
            hint="do not trust this model: code in it tried to reach other files",
            code="model_source.not_convertible",
        )


def _plain_bytes(path: Path) -> bytes | None:
    """A file's first bytes; None where there is none, or something that leads elsewhere or would block."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as stream:
        return stream.read(LARGEST_REPORT_BYTES) if stat.S_ISREG(os.fstat(descriptor).st_mode) else None


def _crash(work: Path, code: int) -> EngineError:
    said = (_plain_bytes(work / OUTPUT_TEXT) or b"")[-LAST_WORDS_BYTES:].decode(errors="replace").strip()
    ending = f"ended with status {code}" if code >= 0 else f"was killed by signal {-code}"
    last = f"; it said last: {said.splitlines()[-1]}" if said else ""
    return EngineError(
        f"the converting child {ending}{last}",
        hint="perhaps memory ran out: see dmesg" if code == -signal.SIGKILL else None,
        code="engine.crashed",
        actual=ending,
    )
