"""``service install`` writes units where it is told to, and only over its own."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest
from tests.fakes.clock import FakeClock
from tests.fakes.ledger import InMemoryLedger
from tests.partial_host import files_host

from hyperion.domain.service_unit import SERVICE_FILE, Scope, ServiceRequest
from hyperion.errors import ConflictError, HostError
from hyperion.usecases.service import ServiceUnits, UnitCheck, install_service

REQUEST = ServiceRequest(
    scope=Scope.SYSTEM,
    command=("/opt/hyperion/bin/hyperion", "serve", "--foreground"),
    state_dir=PurePosixPath("/var/lib/hyperion"),
    account="hyperion",
)


def install(tmp_path: Path, folder: Path) -> ServiceUnits:
    host = files_host(tmp_path / "state", ledger=InMemoryLedger(FakeClock()))
    return install_service(host, REQUEST, folder, lambda paths, scope: UnitCheck(passed=True))


def test_a_folder_that_is_not_there_is_made_as_the_help_has_it(tmp_path: Path) -> None:
    first, second = install(tmp_path, tmp_path / "units"), install(tmp_path, tmp_path / "units")

    assert (tmp_path / "units" / SERVICE_FILE).read_text() == first.units[SERVICE_FILE]
    assert (first.changed, second.changed) == (True, False)


def test_a_folder_in_no_folder_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="nowhere"):
        install(tmp_path, tmp_path / "nowhere" / "units")


def test_a_unit_that_somebody_else_wrote_stays(tmp_path: Path) -> None:
    (tmp_path / SERVICE_FILE).write_text("[Unit]\n")

    with pytest.raises(ConflictError):
        install(tmp_path, tmp_path)

    assert (tmp_path / SERVICE_FILE).read_text() == "[Unit]\n"
