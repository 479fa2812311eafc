"""Extracting: verified while it is written, whole or absent."""

from __future__ import annotations

from pathlib import Path

import pytest

from hyperion.adapters.package_files import LocalPackages
from hyperion.errors import ConflictError, HostError, NotFoundError
from hyperion.usecases.extract import extract_model
from tests.fakes.reporter import CollectingReporter
from tests.packages import entries, package_bytes, write_directory, write_package
from tests.partial_host import files_host


@pytest.mark.parametrize("write", [write_package, write_directory])
def test_the_output_is_the_same_package(write, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    source = write(tmp_path / "given")
    reporter = CollectingReporter()

    summary = extract_model(files_host(tmp_path), source, tmp_path / "out", reporter)

    with LocalPackages().open(tmp_path / "out") as package, LocalPackages().open(source) as given:
        assert package.digest == given.digest == summary.digest
        assert {name: package.read(name) for name in package.names()} == entries()
    assert (summary.name, summary.version, summary.entries) == ("tiny", "1.0.0", 4)
    assert summary.size_bytes == sum(len(data) for data in entries().values())
    assert reporter.stages == ["Extracting"]


def test_files_get_ordinary_permissions_whatever_the_package_says(tmp_path: Path) -> None:
    extract_model(files_host(tmp_path), write_package(tmp_path / "p"), tmp_path / "out", CollectingReporter())

    assert all(not path.stat().st_mode & 0o111 for path in (tmp_path / "out").rglob("*") if path.is_file())


def test_an_empty_output_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()

    extract_model(files_host(tmp_path), write_package(tmp_path / "p"), tmp_path / "out", CollectingReporter())

    assert (tmp_path / "out" / "manifest.json").is_file()


def test_an_output_with_something_in_it_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()

    with pytest.raises(ConflictError):
        extract_model(files_host(tmp_path), write_package(tmp_path / "p"), tmp_path / "out", CollectingReporter())

    assert [item.name for item in (tmp_path / "out").iterdir()] == ["mine"]


def test_a_missing_package_or_folder_is_told_and_nothing_is_made(tmp_path: Path) -> None:
    host = files_host(tmp_path)
    with pytest.raises(NotFoundError):
        extract_model(host, tmp_path / "none", tmp_path / "out", CollectingReporter())
    with pytest.raises(HostError, match="there is no folder"):
        extract_model(host, write_package(tmp_path / "p"), tmp_path / "no" / "out", CollectingReporter())

    assert [item.name for item in tmp_path.iterdir()] == ["p"]


def test_a_package_that_shrinks_while_it_is_extracted_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "p"
    path.write_bytes(package_bytes(entries() | {"assets/big": bytes(5 << 20)}))

    class Truncating(CollectingReporter):
        def stage(self, title: str, total: int | None = None, unit: str = ""):  # type: ignore[no-untyped-def]
            with path.open("r+b") as stream:
                stream.truncate(1 << 20)
            return super().stage(title, total, unit)

    with pytest.raises(Exception, match="expected 5242880 bytes"):
        extract_model(files_host(tmp_path), path, tmp_path / "out", Truncating())

    assert [item.name for item in tmp_path.iterdir()] == ["p"]
