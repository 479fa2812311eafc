"""What every deployment of a supervisor uses."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hyperion.ports import Clock, HostFacts, Ledger, ReportStore, WorkerLauncher
from hyperion.serving.guard import Guards


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Ports and places that the deployments of one supervisor share."""

    ledger: Ledger
    launcher: WorkerLauncher
    facts: HostFacts
    clock: Clock
    metrics_dir: Path
    """Folder of slot files; each deployment has its own under it."""
    sockets_dir: Path
    """Private folder of the workers' unix sockets, with a path short enough for their addresses."""
    reports: ReportStore
    """Holds what was measured of packages."""
    guards: Guards
    """Say whom deployments let in."""
    version: str
    """Of this software."""
