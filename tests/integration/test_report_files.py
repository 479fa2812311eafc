"""Reports on disk: their names, and what happens where they cannot be written or read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.fakes.clock import START

from hyperion.adapters.files.atomic_file import AtomicFiles
from hyperion.adapters.files.report_store import LocalReportStore
from hyperion.domain.finding import Report
from hyperion.errors import HostError


@pytest.fixture
def store(tmp_path: Path) -> LocalReportStore:
    return LocalReportStore(tmp_path, AtomicFiles())


def make_report(kind: str = "memory") -> Report:
    return Report(kind=kind, subject=None, created_at=START, findings=())


def test_a_report_is_named_by_deployment_utc_time_and_kind(store: LocalReportStore, tmp_path: Path) -> None:
    path = store.save("mlp", make_report())

    assert path.parent == tmp_path / "reports" / "mlp"
    assert re.fullmatch(r"20260102T030405\.000000Z00-memory\.json", path.name)
    assert path.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("damage", ["", "{", '{"kind": "memory", "colour": "red"}'])
def test_a_damaged_report_is_named(store: LocalReportStore, damage: str) -> None:
    path = store.save("mlp", make_report())
    path.write_text(damage)

    with pytest.raises(HostError) as refusal:
        store.recent("mlp")

    assert refusal.value.code == "report.corrupt"
    assert str(path) in refusal.value.message


def test_a_file_in_the_place_of_the_folder_is_reported(store: LocalReportStore, tmp_path: Path) -> None:
    (tmp_path / "reports").write_text("a file")

    with pytest.raises(HostError) as refusal:
        store.save("mlp", make_report())

    assert refusal.value.code == "report.not_writable"


def test_a_report_that_cannot_be_opened_is_reported(store: LocalReportStore) -> None:
    path = store.save("mlp", make_report())
    path.unlink()
    path.symlink_to(path)

    with pytest.raises(HostError) as refusal:
        store.recent("mlp")

    assert refusal.value.code == "report.unreadable"
