"""What every implementation of ports.PackageOpener promises: any form, or a reason in plain words."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.packages import entries, package_bytes, write_directory, write_package
from tests.permissions import permissions_hold

from hyperion.adapters.files.package_files import LocalPackages
from hyperion.errors import HostError, MalformedPackageError, NotFoundError
from hyperion.ports import PackageOpener


@pytest.fixture
def opener() -> PackageOpener:
    return LocalPackages()


def write_backup(path: Path) -> Path:
    path.mkdir()
    (path / "deployment.json").write_text("{}")
    write_package(path / "package.hyperion")
    return path


def write_shared_backup(path: Path) -> Path:
    path.mkdir()
    (path / "deployment.json").write_text("{}")
    write_directory(path / "package.hyperion")
    return path


@pytest.mark.parametrize("write", [write_package, write_directory, write_backup, write_shared_backup])
def test_every_form_opens_as_the_same_package(opener: PackageOpener, write, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    path = write(tmp_path / "given")
    with opener.open(write_package(tmp_path / "reference")) as reference:
        digest = reference.digest

    with opener.open(path) as package:
        assert package.digest == digest
        assert package.source == str(path)
        assert package.names() == tuple(sorted(entries()))
        for name, data in entries().items():
            location = package.locate(name)
            assert package.read(name) == data
            assert location.path.is_absolute()
            assert location.path.read_bytes()[location.offset :][: location.size_bytes] == data
            with package.open(name) as stream:
                assert stream.read() == data


def test_nothing_there_is_not_found(opener: PackageOpener, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "none", tmp_path / "file" / "below"):
        with pytest.raises(NotFoundError) as refused:
            opener.open(path)
        assert refused.value.code == "package.not_found"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "it is empty"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        (b"\x1f\x8b\x08", "a gzip archive"),
        (b"text", "does not begin as one"),
    ],
)
def test_another_file_is_named_for_what_it_is(opener: PackageOpener, data: bytes, reason: str, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(data)

    with pytest.raises(MalformedPackageError, match=reason) as refused:
        opener.open(tmp_path / "x")

    assert refused.value.code == "package.not_a_package"
    assert refused.value.hint


def test_a_pipe_is_refused_without_waiting_for_it(opener: PackageOpener, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(MalformedPackageError, match="neither a file nor a folder"):
        opener.open(tmp_path / "pipe")


def test_a_file_without_permission_is_a_fault_of_the_host(opener: PackageOpener, tmp_path: Path) -> None:
    path = write_package(tmp_path / "x")
    path.chmod(0)

    with permissions_hold(), pytest.raises(HostError) as refused:
        opener.open(path)

    assert refused.value.code == "host.permission"


def test_no_descriptor_is_left_open_by_a_refusal(opener: PackageOpener, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(package_bytes()[:-1])
    before = len(list(Path("/proc/self/fd").iterdir()))

    for _ in range(5):
        with pytest.raises(MalformedPackageError):
            opener.open(tmp_path / "x")

    assert len(list(Path("/proc/self/fd").iterdir())) == before
