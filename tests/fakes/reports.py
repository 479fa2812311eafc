"""Reports in memory."""

from __future__ import annotations

from pathlib import Path

from hyperion.domain.finding import Report
from hyperion.domain.scheme import HostMeasurements
from hyperion.domain.tuning import Tuning


class InMemoryReportStore:
    """Implements ports.ReportStore; the paths that it returns name no file."""

    def __init__(self) -> None:
        self._reports: dict[str, list[Report]] = {}
        self._measurements: dict[tuple[str, str], HostMeasurements] = {}
        self._tunings: dict[tuple[str, str], Tuning] = {}

    def save(self, deployment: str, report: Report) -> Path:
        kept = self._reports.setdefault(deployment, [])
        kept.append(report)
        return Path("reports", deployment, f"{len(kept)}-{report.kind}.json")

    def recent(self, deployment: str, kind: str | None = None, limit: int | None = None) -> tuple[Report, ...]:
        # Two reports of one moment: the one saved last is the newer.
        kept = sorted(self._reports.get(deployment, []), key=lambda report: report.created_at)
        return tuple(report for report in reversed(kept) if kind in (None, report.kind))[:limit]

    def save_measurements(self, found: HostMeasurements) -> Path:
        self._measurements[found.digest, found.platform] = found
        return Path("measurements", found.digest, found.platform)

    def measurements(self, digest: str, platform: str) -> HostMeasurements | None:
        return self._measurements.get((digest, platform))

    def save_tuning(self, found: Tuning) -> Path:
        self._tunings[found.digest, found.platform] = found
        return Path("tuning", found.digest, found.platform)

    def tuning(self, digest: str, platform: str) -> Tuning | None:
        return self._tunings.get((digest, platform))
