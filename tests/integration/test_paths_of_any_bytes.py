"""A file's name on Linux is any bytes: every command that loads a model takes such a path."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.models import mlp, write_dataset, write_model_dir

from hyperion.adapters.files.atomic_file import AtomicFiles
from hyperion.adapters.files.report_store import LocalReportStore
from hyperion.cli.main import run
from hyperion.domain.finding import Report, Subject

ODD = os.fsdecode(b"m\xff")


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Path:
    """A package whose own name and whose folder's name are not UTF-8."""
    monkeypatch.setenv("HYPERION_HOME", str(tmp_path / "home"))
    (tmp_path / ODD).mkdir()
    path = tmp_path / ODD / f"{ODD}.hyperion"
    assert run(["package", "model", "--input", str(write_model_dir(tmp_path / "model")), "--output", str(path)]) == 0
    capsys.readouterr()
    return path


@pytest.mark.parametrize("scheme", ["auto", "w4", "none"])
def test_a_model_is_packaged_from_such_a_folder_into_such_a_file(tmp_path: Path, scheme: str) -> None:
    source = write_model_dir(tmp_path / ODD, model=mlp(hidden=1024))  # large enough for weights to stay in the file
    there, here = tmp_path / f"{ODD}.hyperion", tmp_path / "plain.hyperion"

    for path in (there, here):
        assert (
            run(
                ["package", "model", "--input", str(source), "--name", "m", "--output", str(path), "--quantize", scheme]
            )
            == 0
        )

    assert there.read_bytes() == here.read_bytes()


def test_verifying_loads_and_runs_it(package: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = run(["verify", "model", "--input", str(package), "--json"])

    assert (code, json.loads(capsys.readouterr().out)["ok"]) == (0, True)


def test_measuring_runs_it(package: Path, tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "data", rows=8)

    assert run(["verify", "performance", str(package), "--dataset", str(data), "--json"]) == 0


def test_comparing_runs_it(package: Path, tmp_path: Path) -> None:
    data = write_dataset(tmp_path / ODD / "data", rows=8)

    assert run(["version", "compare", str(package), str(package), "--dataset", str(data), "--plan", "--json"]) == 0


def test_damage_is_told_and_no_bug(package: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw = bytearray(package.read_bytes())
    raw[5000] ^= 1
    package.write_bytes(raw)

    code = run(["verify", "model", "--input", str(package), "--json"])

    assert (code, json.loads(capsys.readouterr().out)["ok"]) == (1, False)


def test_a_report_about_it_can_be_kept(tmp_path: Path) -> None:
    subject = Subject(name="m", version="1.0.0", digest="sha256:" + "0" * 64, source=f"/x/{ODD}")
    report = Report(kind="model", subject=subject, created_at=datetime(2026, 1, 1, tzinfo=UTC), findings=())
    store = LocalReportStore(tmp_path, AtomicFiles())

    store.save("m", report)

    (kept,) = store.recent("m")
    assert kept.subject is not None
    assert kept.subject.source == "/x/m?"
