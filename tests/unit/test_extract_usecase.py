"""Extracting: verified while it is written, whole or absent."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.fakes.reporter import CollectingReporter
from tests.hostile.corpus import patched, records_of
from tests.packages import entries, package_bytes, write_directory, write_package
from tests.partial_host import files_host
from tests.permissions import permissions_hold

from hyperion.adapters.files.package_files import LocalPackages
from hyperion.errors import ConflictError, DigestMismatchError, HostError, NotFoundError, PackageError
from hyperion.usecases.extract import extract_model


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


def test_what_a_folder_lacks_is_added_and_the_rest_is_left_alone(tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "assets").mkdir(parents=True)
    (out / "model.onnx").write_bytes(b"source")
    (out / "assets" / "README.md").write_bytes(entries()["assets/README.md"])
    before = (out / "assets" / "README.md").stat().st_ino
    source, host = write_package(tmp_path / "p"), files_host(tmp_path)

    first = extract_model(host, source, out, CollectingReporter())
    second = extract_model(host, source, out, CollectingReporter())

    assert {name: (out / name).read_bytes() for name in entries()} == entries()
    assert (out / "model.onnx").read_bytes() == b"source"
    assert (out / "assets" / "README.md").stat().st_ino == before
    assert (first.kept, second.kept) == (1, 5)


def test_files_of_others_make_the_folder_no_package_and_that_is_said(tmp_path: Path) -> None:
    out, reporter = tmp_path / "out", CollectingReporter()
    (out / "config").mkdir(parents=True)
    (out / "config" / "mine.json").write_bytes(b"{}")
    (out / "link").symlink_to(tmp_path)

    summary = extract_model(files_host(tmp_path), write_package(tmp_path / "p"), out, reporter)

    assert (summary.foreign, summary.foreign_files) == (2, ("config/mine.json", "link"))
    assert len(reporter.warnings) == 1
    assert "is no package: the package does not list 'config/mine.json', 'link'" in reporter.warnings[0]
    with pytest.raises(PackageError):
        LocalPackages().open(out)


def test_a_folder_of_the_packages_own_files_is_a_package(tmp_path: Path) -> None:
    out, reporter = tmp_path / "out", CollectingReporter()
    (out / "assets").mkdir(parents=True)
    (out / "assets" / "README.md").write_bytes(entries()["assets/README.md"])
    (out / "empty").mkdir()

    summary = extract_model(files_host(tmp_path), write_package(tmp_path / "p"), out, reporter)

    LocalPackages().open(out).close()
    assert (summary.foreign, summary.foreign_files, reporter.warnings) == (0, (), [])


def test_a_folder_that_may_not_be_looked_into_is_a_matter_of_permission(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir(mode=0)

    with permissions_hold(), pytest.raises(HostError) as refused:
        extract_model(files_host(tmp_path), write_package(tmp_path / "p"), out, CollectingReporter())

    assert refused.value.code == "host.permission"


def occupy_file(out: Path) -> None:
    (out / "assets").mkdir()
    (out / "assets" / "README.md").write_bytes(b"mine")


def occupy_folder(out: Path) -> None:
    (out / "assets" / "README.md").mkdir(parents=True)


def occupy_link(out: Path) -> None:
    (out / "outside").mkdir()
    (out / "assets").symlink_to(out / "outside")


def occupy_file_link(out: Path) -> None:
    (out / "outside").write_bytes(entries()["assets/README.md"])
    (out / "assets").mkdir()
    (out / "assets" / "README.md").symlink_to(out / "outside")


def occupy_parent(out: Path) -> None:
    (out / "assets").write_bytes(b"a file where a folder must be")


@pytest.mark.parametrize("occupy", [occupy_file, occupy_folder, occupy_link, occupy_file_link, occupy_parent])
def test_a_folder_with_something_else_in_it_is_not_touched(occupy: Callable[[Path], None], tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    occupy(out)
    before = sorted(out.rglob("*"))

    with pytest.raises(ConflictError, match=r"'assets/README\.md'") as refused:
        extract_model(files_host(tmp_path), write_package(tmp_path / "p"), out, CollectingReporter())

    assert refused.value.entry == "assets/README.md"
    assert sorted(out.rglob("*")) == before


def test_a_damaged_package_adds_nothing(tmp_path: Path) -> None:
    out, path = tmp_path / "out", tmp_path / "p"
    out.mkdir()
    (out / "mine").touch()
    data = package_bytes()
    position = records_of(data)["weights/layer0.weights"].payload_offset + 200
    path.write_bytes(patched(data, position, bytes([data[position] ^ 1])))

    with pytest.raises(DigestMismatchError):
        extract_model(files_host(tmp_path), path, out, CollectingReporter())

    assert [item.name for item in out.rglob("*")] == ["mine"]


def test_what_was_added_before_a_failure_is_taken_back(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine").touch()

    class Interrupting(CollectingReporter):
        @contextmanager
        def stage(self, title: str, total: int | None = None, unit: str = "") -> Iterator[Callable[[int], None]]:
            def advance(amount: int) -> None:
                nonlocal calls
                calls += 1
                if title == "Extracting" and calls == 7:
                    raise KeyboardInterrupt

            yield advance

    calls = 0
    with pytest.raises(KeyboardInterrupt):
        extract_model(files_host(tmp_path), write_package(tmp_path / "p"), out, Interrupting())

    assert calls == 7
    assert [item.name for item in out.rglob("*")] == ["mine"]


def test_a_fault_of_the_system_is_the_hosts(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine").touch()

    class Vanishing(CollectingReporter):
        def stage(self, title: str, total: int | None = None, unit: str = ""):  # type: ignore[no-untyped-def]
            if title == "Extracting":
                shutil.rmtree(out)
            return super().stage(title, total, unit)

    with pytest.raises(HostError):
        extract_model(files_host(tmp_path), write_package(tmp_path / "p"), out, Vanishing())


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
