"""A Host with only the ports that a test needs."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

from hyperion.adapters.files.atomic_file import AtomicFiles
from hyperion.adapters.files.package_files import LocalPackages
from hyperion.ports import Host
from tests.fakes.clock import FakeClock
from tests.fakes.proofs import InMemoryProofRecord


def files_host(state: Path, **given: Any) -> Host:
    """Real files and packages, a clock that stands still; every other port is missing."""
    ports: dict[str, Any] = {field.name: None for field in fields(Host)}
    ports |= {"clock": FakeClock(), "files": AtomicFiles(), "packages": LocalPackages(), "state_dir": state}
    ports |= {"proofs": InMemoryProofRecord()}
    return Host(**(ports | given))
