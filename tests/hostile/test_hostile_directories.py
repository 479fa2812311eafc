"""Extracted packages that were tampered with are refused, and the file is named."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from hyperion.adapters.files.package_files import LocalPackages
from hyperion.domain.finding import Outcome
from hyperion.errors import PackageError
from hyperion.verification.integrity import check_integrity
from tests.fakes.reporter import CollectingReporter
from tests.packages import write_directory
from tests.partial_host import files_host

README = "assets/README.md"


def link_file(root: Path) -> None:
    (root.parent / "outside").write_bytes((root / README).read_bytes())
    (root / README).unlink()
    (root / README).symlink_to(root.parent / "outside")


def link_folder(root: Path) -> None:
    (root / "assets").rename(root.parent / "outside")
    (root / "assets").symlink_to(root.parent / "outside")


def link_manifest(root: Path) -> None:
    (root / "manifest.json").rename(root.parent / "outside")
    (root / "manifest.json").symlink_to(root.parent / "outside")


def link_signing(root: Path) -> None:
    (root.parent / "outside").write_bytes(b"{}")
    (root / "model.sig").symlink_to(root.parent / "outside")


def huge_signing(root: Path) -> None:
    with (root / "model.sig").open("wb") as stream:
        stream.truncate(33 * 1024 * 1024)


def folder_as_signing(root: Path) -> None:
    (root / "model.sig").mkdir()
    (root / "model.sig" / "x").write_text("x")


def add_device(root: Path) -> None:
    os.mknod(root / "assets" / "device", 0o600 | stat.S_IFCHR, os.makedev(1, 3))


def add_socket(root: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener, pytest.MonkeyPatch.context() as patch:
        patch.chdir(root / "assets")  # a socket's path may be no longer than 107 bytes
        listener.bind("socket")


def add_pipe(root: Path) -> None:
    os.mkfifo(root / "assets" / "pipe")


def add_file(name: str) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text("extra")

    return change


def edit(root: Path) -> None:
    (root / README).write_bytes(b"# A tiny mode1\n")


def lengthen(root: Path) -> None:
    (root / README).write_bytes(b"# A tiny model, edited\n")


def remove(root: Path) -> None:
    (root / README).unlink()


def reformat_manifest(root: Path) -> None:
    text = (root / "manifest.json").read_text()
    (root / "manifest.json").write_text(text + "\n")


def swap_file_for_folder(root: Path) -> None:
    (root / README).unlink()
    (root / README).mkdir()


def read_all(root: Path) -> None:
    with LocalPackages().open(root) as package:
        for name in package.names():
            package.read(name)


@pytest.mark.parametrize(
    ("change", "code", "named"),
    [
        (link_file, "package.special_file", README),
        (link_folder, "package.special_file", "assets"),
        (link_manifest, "package.special_file", "manifest.json"),
        (add_pipe, "package.special_file", "assets/pipe"),
        (add_socket, "package.special_file", "assets/socket"),
        pytest.param(
            add_device,
            "package.special_file",
            "assets/device",
            marks=pytest.mark.skipif(os.geteuid() != 0, reason="only root makes devices"),
        ),
        (link_signing, "package.special_file", "model.sig"),
        (huge_signing, "package.too_large", "model.sig"),
        (folder_as_signing, "package.unlisted_entry", "model.sig/x"),
        (add_file("assets/extra.txt"), "package.unlisted_entry", "assets/extra.txt"),
        (add_file(".git/config"), "package.unlisted_entry", ".git/config"),
        (add_file(".DS_Store"), "package.unlisted_entry", ".DS_Store"),
        (edit, "package.digest_mismatch", README),
        (lengthen, "package.digest_mismatch", README),
        (remove, "package.missing_entry", README),
        (swap_file_for_folder, "package.missing_entry", README),
        (reformat_manifest, "package.manifest_encoding", "manifest.json"),
    ],
)
def test_a_tampered_directory_is_refused_by_name(
    change: Callable[[Path], None], code: str, named: str, tmp_path: Path
) -> None:
    root = write_directory(tmp_path / "tree")
    change(root)

    with pytest.raises(PackageError) as refused:
        read_all(root)
    findings = check_integrity(files_host(tmp_path), root, CollectingReporter())

    assert refused.value.code == code
    assert refused.value.entry == named
    failed = [finding for finding in findings if finding.outcome is Outcome.FAILED]
    assert [finding.entry for finding in failed] == [named]


def test_a_folder_without_a_manifest_is_no_package(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()

    with pytest.raises(PackageError) as refused:
        LocalPackages().open(tmp_path / "empty")

    assert refused.value.code == "package.not_a_package"


def test_a_manifest_that_is_a_folder_or_too_large_is_refused(tmp_path: Path) -> None:
    folder, large = write_directory(tmp_path / "folder"), write_directory(tmp_path / "large")
    (folder / "manifest.json").unlink()
    (folder / "manifest.json").mkdir()
    with (large / "manifest.json").open("r+b") as stream:
        stream.truncate(17 * 1024 * 1024)

    for root, code in ((folder, "package.not_a_package"), (large, "package.too_large")):
        with pytest.raises(PackageError) as refused:
            LocalPackages().open(root)
        assert refused.value.code == code
