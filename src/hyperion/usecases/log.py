"""The ledger: is it whole, is it still the one that others have seen, and a copy of it for them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from hyperion.domain.document import Document
from hyperion.domain.event import START, Event, LedgerHead
from hyperion.domain.finding import Finding, Report
from hyperion.domain.ledger_export import LedgerExport, chain_end
from hyperion.errors import ConfigError, ConflictError, HostError, NotFoundError
from hyperion.ports import Host
from hyperion.usecases.backup_folder import read_backup
from hyperion.verification.ledger import check_chain, check_head, check_pointers, export_fault

MAX_LINE_BYTES = 16 * 1024 * 1024
"""Longer than any event: the largest holds a checklist."""


class ExportSummary(Document):
    """What was exported, and where."""

    path: str
    events: int
    head: LedgerHead
    """Its end: to be kept where whoever may change the ledger cannot change it."""
    size_bytes: int
    first_broken: int | None
    """Sequence of the first event that was changed since it was written; None where the chain is whole."""


def verify_log(host: Host, against: Sequence[Path]) -> Report:
    """Check the chain of the ledger, and every end of it that backups and exports have kept.

    Args:
        host: This host.
        against: Backup folders and files that ``log export`` wrote.

    Returns:
        A report of kind ``log``: ``ledger.chain``, one ``ledger.pointers`` for each deployment whose revisions are not
        those that the events made desired and active, and one ``ledger.head`` for each of ``against``.

    Raises:
        NotFoundError: There is nothing there, or no backup (code ``backup.not_found``, ``log.export_not_found``).
        ConfigError: It is neither backup nor export.
        HostError: It, or the ledger, cannot be read.
    """
    heads = (_compare(host, path) for path in against)
    findings = (check_chain(host.ledger), *check_pointers(host.ledger), *heads)
    return Report(kind="log", subject=None, created_at=host.clock.now(), findings=findings)


def export_log(host: Host, output: Path) -> ExportSummary:
    """Write the ledger to a file; an earlier export at ``output`` is replaced, nothing else is.

    Raises:
        ConflictError: Another file is at ``output`` (code ``conflict.output_exists``).
        HostError: No space, no permission; the ledger cannot be read.
    """
    events = host.ledger.events()
    _require_own(output)
    with host.files.replacing(output) as stream:
        for text in _lines(host, events):
            stream.write(text.encode())
        size_bytes = stream.tell()
    return ExportSummary(
        path=str(output),
        events=len(events),
        head=_head_of(events),
        size_bytes=size_bytes,
        first_broken=host.ledger.first_broken(),
    )


def print_log(host: Host) -> Iterator[str]:
    """The same, line by line."""
    return _lines(host, host.ledger.events())


def _lines(host: Host, events: Sequence[Event]) -> Iterator[str]:
    export = LedgerExport(head=_head_of(events), exported_at=host.clock.now())
    for document in (export, *events):
        yield document.model_dump_json() + "\n"


def _head_of(events: Sequence[Event]) -> LedgerHead:
    """By the events themselves: another process may write meanwhile."""
    return LedgerHead(sequence=events[-1].sequence, hash=events[-1].hash) if events else START


def _compare(host: Host, path: Path) -> Finding:
    source = str(path)
    if path.is_dir():
        return check_head(host.ledger, read_backup(path).ledger, source)
    export, events = _read_export(path)
    try:
        end, broken = chain_end(events)
    except ValueError:
        return export_fault(source, "a line is no event")
    if broken is not None:
        return export_fault(source, f"its event {broken} was changed, removed or put in")
    if end != export.head:
        fault = f"its first line says that it ends with event {export.head.sequence}, its last event is {end.sequence}"
        return export_fault(source, fault)
    return check_head(host.ledger, export.head, source)


def _read_export(path: Path) -> tuple[LedgerExport, Iterable[Event]]:
    """The first line of an export, and its events as they are read."""
    lines = _read_lines(path)
    first = next(lines, b"")
    try:
        export = LedgerExport.model_validate_json(first)
    except ValueError as error:
        raise ConfigError(
            f"{path} is neither a backup folder nor an export of the ledger",
            hint="name what 'hyperion backup model' or 'hyperion log export' wrote",
            code="log.no_export",
        ) from error
    return export, (Event.model_validate_json(line) for line in lines)


def _read_lines(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as stream:
            while line := stream.readline(MAX_LINE_BYTES):
                yield line
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFoundError(
            f"there is no backup or export {path}",
            hint="name what 'hyperion backup model' or 'hyperion log export' wrote",
            code="log.export_not_found",
        ) from error
    except (OSError, ValueError) as error:
        raise HostError(f"cannot read {path}: {error}", code="host.io") from error


def _require_own(output: Path) -> None:
    """Refuse to touch anything that is there and is no export of ours."""
    if not os.path.lexists(output):
        return
    try:
        if output.is_file():  # a pipe would be waited for
            _read_export(output)
            return
    except ConfigError:
        pass
    raise ConflictError(
        f"{output}: exists and is no export that Hyperion wrote; it was not touched",
        hint="choose another --output, or remove it",
        code="conflict.output_exists",
    )
