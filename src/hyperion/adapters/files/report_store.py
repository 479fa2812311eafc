"""Reports on disk, and what was measured of packages.

``reports/<deployment>/<UTC timestamp>-<kind>.json``, ``measurements/<digest>/<platform>.json`` and
``tuning/<digest>/<platform>.json``.
"""

from __future__ import annotations

import itertools
from datetime import UTC
from pathlib import Path
from typing import TypeVar

from hyperion.adapters.files.document_bytes import document_bytes
from hyperion.adapters.files.state_folder import make_private
from hyperion.domain.document import Document
from hyperion.domain.finding import Report
from hyperion.domain.scheme import HostMeasurements
from hyperion.domain.tuning import Tuning
from hyperion.errors import ConfigError, HostError
from hyperion.format.strict_json import parse_document
from hyperion.ports import Files

Kept = TypeVar("Kept", bound=Document)


class LocalReportStore:
    """The reports of one host; implements ports.ReportStore. A report is never changed once it is written."""

    def __init__(self, state: Path, files: Files) -> None:
        """Reports and measurements lie under the state folder, each in a folder of their own."""
        self._root = state / "reports"
        self._measurements = state / "measurements"
        self._tuning = state / "tuning"
        self._files = files

    def save(self, deployment: str, report: Report) -> Path:
        folder = _made(self._root / deployment)
        return self._write(_free_path(folder, report), report)

    def recent(self, deployment: str, kind: str | None = None, limit: int | None = None) -> tuple[Report, ...]:
        paths = sorted((self._root / deployment).glob("*.json"), key=lambda path: path.name, reverse=True)
        wanted = (path for path in paths if kind is None or _kind_of(path) == kind)
        return tuple(_read(Report, path) for path in itertools.islice(wanted, limit))

    def save_measurements(self, found: HostMeasurements) -> Path:
        return self._replace(_place(self._measurements, found.digest, found.platform), found)

    def measurements(self, digest: str, platform: str) -> HostMeasurements | None:
        path = _place(self._measurements, digest, platform)
        return _read(HostMeasurements, path) if path.is_file() else None

    def save_tuning(self, found: Tuning) -> Path:
        return self._replace(_place(self._tuning, found.digest, found.platform), found)

    def tuning(self, digest: str, platform: str) -> Tuning | None:
        path = _place(self._tuning, digest, platform)
        return _read(Tuning, path) if path.is_file() else None

    def _replace(self, path: Path, document: Document) -> Path:
        _made(path.parent)
        return self._write(path, document)

    def _write(self, path: Path, document: Document) -> Path:
        with self._files.replacing(path) as stream:
            stream.write(document_bytes(document, indent=2) + b"\n")
        return path


def _place(root: Path, digest: str, platform: str) -> Path:
    return root / digest.replace(":", "-") / f"{platform.replace('/', '-')}.json"


def _made(folder: Path) -> Path:
    try:
        make_private(folder)
    except OSError as error:
        raise HostError(
            f"the folder of reports {folder} cannot be made: {error.strerror}",
            hint="check its permissions and the free space with 'df'",
            code="report.not_writable",
        ) from error
    return folder


def _free_path(folder: Path, report: Report) -> Path:
    """Names sort by time; two reports of one microsecond get a number between time and kind."""
    time = report.created_at.astimezone(UTC).strftime("%Y%m%dT%H%M%S.%f")
    names = (f"{time}Z{number:02}-{report.kind}.json" for number in itertools.count())
    return next(path for path in map(folder.joinpath, names) if not path.exists())


def _kind_of(path: Path) -> str:
    return path.stem.partition("-")[2]


def _read(kind: type[Kept], path: Path) -> Kept:
    try:
        return parse_document(kind, path.read_bytes(), str(path))
    except OSError as error:
        raise HostError(
            f"the report {path} cannot be read: {error.strerror}",
            hint="check its permissions",
            code="report.unreadable",
        ) from error
    except ConfigError as error:
        raise HostError(
            f"the report {path} is damaged: {error.message}", hint="move it aside", code="report.corrupt"
        ) from error
