"""Private folders: for one process alone, gone afterwards, and swept only where their process is gone."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from hyperion.adapters.files.private_folder import owned_prefix, private_folder, sweep

PREFIX = "hyperion-job-"


@pytest.fixture(scope="module")
def gone() -> int:
    """The number of a process that has ended."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    return ended.pid


def test_a_folder_is_its_owners_alone_and_names_its_process(tmp_path: Path) -> None:
    with private_folder(tmp_path, PREFIX) as folder:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert folder.name.startswith(f"{PREFIX}{os.getpid()}-")


def test_it_is_gone_afterwards_with_all_that_is_in_it(tmp_path: Path) -> None:
    def fail_in_it() -> None:
        with private_folder(tmp_path, PREFIX) as folder:
            (folder / "deep").mkdir()
            (folder / "deep" / "file").write_text("x")
            raise ValueError("in it")

    with pytest.raises(ValueError, match="in it"):
        fail_in_it()

    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_swept_before_a_new_folder_is_made(tmp_path: Path, gone: int) -> None:
    left = tmp_path / f"{PREFIX}{gone}-abc"
    left.mkdir()
    (left / "file").write_text("x")

    with private_folder(tmp_path, PREFIX):
        assert not left.exists()


def test_folders_of_processes_that_live_stay(tmp_path: Path) -> None:
    with private_folder(tmp_path, PREFIX) as one, private_folder(tmp_path, PREFIX) as other:
        assert one.exists()
        assert other.exists()


@pytest.mark.parametrize("name", ["hyperion-job-", "hyperion-job-{}", "hyperion-job-x-1", "hyperion-other-{}-1", "x"])
def test_what_is_not_named_so_stays(name: str, tmp_path: Path, gone: int) -> None:
    kept = tmp_path / name.format(gone)
    kept.mkdir()

    sweep(tmp_path, PREFIX)

    assert kept.exists()


def test_a_prefix_is_no_pattern(tmp_path: Path, gone: int) -> None:
    kept = tmp_path / f"new-{gone}-1"
    kept.mkdir()

    sweep(tmp_path, "*")

    assert kept.exists()


def test_a_link_is_not_followed(tmp_path: Path, gone: int) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_text("x")
    (tmp_path / f"{PREFIX}{gone}-link").symlink_to(precious)

    sweep(tmp_path, PREFIX)

    assert (precious / "file").exists()


def test_a_place_that_is_missing_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        sweep(tmp_path / "missing", PREFIX)


def test_the_prefix_of_this_process_ends_with_its_number() -> None:
    assert owned_prefix("new-") == f"new-{os.getpid()}-"
