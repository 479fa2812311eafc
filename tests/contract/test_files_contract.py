"""What every implementation of ports.Files promises: whole or absent."""

from __future__ import annotations

import errno
import fcntl
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.permissions import permissions_hold
from tests.small_disk import small_disk

from hyperion.adapters.files.atomic_file import AtomicFiles
from hyperion.errors import ConflictError, HostError
from hyperion.ports import Files


@pytest.fixture
def files() -> Files:
    return AtomicFiles()


def names(folder: Path) -> list[str]:
    return sorted(item.name for item in folder.iterdir())


def write_and_fail(files: Files, path: Path, failure: BaseException) -> None:
    with files.replacing(path) as stream:
        stream.write(b"half")
        raise failure


def fill(folder: Path) -> None:
    (folder / "sub").mkdir()
    (folder / "sub" / "file").write_bytes(b"data")


def fill_and_fail(files: Files, path: Path, failure: BaseException) -> None:
    with files.staging(path, replace=True) as folder:
        fill(folder)
        raise failure


class TestCreate:
    def test_a_new_file_has_its_mode(self, files: Files, tmp_path: Path) -> None:
        files.create(tmp_path / "new", b"data", 0o600)

        assert (tmp_path / "new").read_bytes() == b"data"
        assert (tmp_path / "new").stat().st_mode & 0o777 == 0o600

    def test_what_exists_is_not_touched(self, files: Files, tmp_path: Path) -> None:
        (tmp_path / "old").write_bytes(b"mine")

        with pytest.raises(ConflictError) as refused:
            files.create(tmp_path / "old", b"data", 0o600)

        assert refused.value.code == "conflict.exists"
        assert (tmp_path / "old").read_bytes() == b"mine"

    def test_a_full_disk_is_reported_and_leaves_nothing(self, files: Files, tmp_path: Path) -> None:
        with small_disk(tmp_path / "small") as small:
            with pytest.raises(HostError) as refused:
                files.create(small / "new", bytes(4 << 20), 0o600)

            assert refused.value.code == "host.no_space"
            assert names(small) == []


class TestPermissions:
    """What is said names the target and its folder, never a temporary."""

    @pytest.fixture
    def closed(self, tmp_path: Path) -> Path:
        folder = tmp_path / "closed"
        folder.mkdir(mode=0o500)
        return folder

    def test_a_folder_that_may_not_be_written_in(self, files: Files, closed: Path) -> None:
        with permissions_hold():
            with pytest.raises(HostError) as file, files.replacing(closed / "x"):
                pass
            with pytest.raises(HostError) as folder, files.staging(closed / "x"):
                pass

        assert file.value.code == folder.value.code == "host.permission"
        assert file.value.message == folder.value.message
        assert file.value.message == (
            f"cannot write {closed}/x: no permission to make files in the folder {closed}: Permission denied"
        )

    def test_a_file_within_a_folder_that_is_made(self, files: Files, tmp_path: Path) -> None:
        with pytest.raises(HostError) as refused, files.staging(tmp_path / "x") as folder:
            raise PermissionError(errno.EACCES, "Permission denied", str(folder / "sub"))

        assert refused.value.message == f"no permission for {tmp_path}/x/sub: Permission denied"


class TestMakeFolder:
    def test_a_folder_is_made(self, files: Files, tmp_path: Path) -> None:
        files.make_folder(tmp_path / "new")

        assert (tmp_path / "new").is_dir()

    def test_one_that_exists_or_has_no_place_is_a_fault_of_the_host(self, files: Files, tmp_path: Path) -> None:
        for path in (tmp_path, tmp_path / "none" / "new"):
            with pytest.raises(HostError):
                files.make_folder(path)


class TestReplacing:
    def test_a_new_file_appears_whole_at_the_end(self, files: Files, tmp_path: Path) -> None:
        path = tmp_path / "new"

        with files.replacing(path) as stream:
            stream.write(b"hello")
            assert not path.exists()

        assert path.read_bytes() == b"hello"
        assert names(tmp_path) == ["new"]

    def test_what_was_written_may_be_changed_until_the_end(self, files: Files, tmp_path: Path) -> None:
        with files.replacing(tmp_path / "new") as stream:
            stream.write(b"hello")
            stream.seek(0)
            stream.write(b"J")

        assert (tmp_path / "new").read_bytes() == b"Jello"

    def test_an_old_file_is_replaced_and_keeps_its_permissions(self, files: Files, tmp_path: Path) -> None:
        path = tmp_path / "old"
        path.write_bytes(b"a much longer text")
        path.chmod(0o640)

        with files.replacing(path) as stream:
            stream.write(b"new")

        assert path.read_bytes() == b"new"
        assert path.stat().st_mode & 0o777 == 0o640

    def test_readers_of_the_old_file_keep_it(self, files: Files, tmp_path: Path) -> None:
        path = tmp_path / "old"
        path.write_bytes(b"old")

        with path.open("rb") as reader:
            with files.replacing(path) as stream:
                stream.write(b"new")
            assert reader.read() == b"old"

    @pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt, SystemExit])
    def test_a_failure_leaves_everything_as_it_was(
        self, files: Files, tmp_path: Path, failure: type[BaseException]
    ) -> None:
        path = tmp_path / "old"
        path.write_bytes(b"old")

        with pytest.raises(failure):
            write_and_fail(files, path, failure())

        assert path.read_bytes() == b"old"
        assert names(tmp_path) == ["old"]

    def test_a_missing_folder_is_named(self, files: Files, tmp_path: Path) -> None:
        with pytest.raises(HostError, match="there is no folder") as refused, files.replacing(tmp_path / "no" / "x"):
            pass

        assert refused.value.code == "host.no_folder"

    def test_a_folder_is_not_replaced_by_a_file(self, files: Files, tmp_path: Path) -> None:
        with pytest.raises(ConflictError), files.replacing(tmp_path):
            pass

    def test_a_full_disk_is_reported_with_needed_and_free_bytes(self, files: Files, tmp_path: Path) -> None:
        path = tmp_path / "x"

        with pytest.raises(HostError, match=r"\d+ bytes needed, \d+ free") as refused:
            write_and_fail(files, path, OSError(errno.ENOSPC, "No space left on device"))

        assert refused.value.code == "host.no_space"
        assert names(tmp_path) == []

    def test_a_file_size_limit_is_reported_and_leaves_nothing(self, files: Files, tmp_path: Path) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
        try:
            with pytest.raises(HostError) as refused, files.replacing(tmp_path / "x") as stream:
                stream.write(bytes(1_000_000))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

        assert refused.value.code == "host.file_too_large"
        assert names(tmp_path) == []

    def test_leftovers_of_killed_writers_are_swept_and_live_ones_are_not(self, files: Files, tmp_path: Path) -> None:
        (tmp_path / ".x.tmp-dead").write_bytes(b"left")
        (tmp_path / ".y.tmp-dead").write_bytes(b"of another target")
        with (tmp_path / ".x.tmp-live").open("wb") as live:
            fcntl.flock(live, fcntl.LOCK_EX)
            with files.replacing(tmp_path / "x") as stream:
                stream.write(b"x")

        assert names(tmp_path) == [".x.tmp-live", ".y.tmp-dead", "x"]

    def test_a_killed_writer_leaves_the_old_file(self, files: Files, tmp_path: Path) -> None:
        path = tmp_path / "x"
        path.write_bytes(b"old")
        script = (
            "import os, signal, sys; from pathlib import Path\n"
            "from hyperion.adapters.files.atomic_file import AtomicFiles\n"
            "with AtomicFiles().replacing(Path(sys.argv[1])) as s:\n"
            "    s.write(bytes(1 << 20)); s.flush(); os.kill(os.getpid(), signal.SIGKILL)"
        )

        ended = subprocess.run([sys.executable, "-c", script, path], check=False)

        assert ended.returncode == -signal.SIGKILL
        assert path.read_bytes() == b"old"
        assert len(names(tmp_path)) == 2
        with files.replacing(path) as stream:
            stream.write(b"new")
        assert names(tmp_path) == ["x"]


class TestStaging:
    def test_a_new_folder_appears_whole_at_the_end(self, files: Files, tmp_path: Path) -> None:
        with files.staging(tmp_path / "out") as folder:
            fill(folder)
            assert not (tmp_path / "out").exists()
            assert folder.parent == tmp_path

        assert (tmp_path / "out" / "sub" / "file").read_bytes() == b"data"
        assert names(tmp_path) == ["out"]

    def test_an_empty_folder_may_be_in_its_place(self, files: Files, tmp_path: Path) -> None:
        (tmp_path / "out").mkdir()

        with files.staging(tmp_path / "out") as folder:
            fill(folder)

        assert names(tmp_path / "out") == ["sub"]

    @pytest.mark.parametrize(
        "occupy", [lambda p: (p.mkdir(), (p / "mine").touch()), Path.touch, lambda p: p.symlink_to("/")]
    )
    def test_what_exists_is_not_touched(self, files: Files, tmp_path: Path, occupy: Callable[[Path], object]) -> None:
        occupy(tmp_path / "out")

        with pytest.raises(ConflictError) as refused, files.staging(tmp_path / "out"):
            pytest.fail("the work was begun")

        assert refused.value.code == "conflict.exists"
        assert names(tmp_path) == ["out"]

    def test_what_appears_meanwhile_is_not_touched(self, files: Files, tmp_path: Path) -> None:
        def race() -> None:
            with files.staging(tmp_path / "out") as folder:
                fill(folder)
                (tmp_path / "out").mkdir()
                (tmp_path / "out" / "mine").touch()

        with pytest.raises(ConflictError, match="meanwhile"):
            race()

        assert names(tmp_path) == ["out"]
        assert names(tmp_path / "out") == ["mine"]

    def test_replace_swaps_the_old_folder_out(self, files: Files, tmp_path: Path) -> None:
        with files.staging(tmp_path / "out", replace=True) as folder:
            (folder / "first").touch()
        with files.staging(tmp_path / "out", replace=True) as folder:
            (folder / "second").touch()
            assert names(tmp_path / "out") == ["first"]

        assert names(tmp_path / "out") == ["second"]
        assert names(tmp_path) == ["out"]

    @pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt])
    def test_a_failure_leaves_everything_as_it_was(
        self, files: Files, tmp_path: Path, failure: type[BaseException]
    ) -> None:
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "old").touch()

        with pytest.raises(failure):
            fill_and_fail(files, tmp_path / "out", failure())

        assert names(tmp_path) == ["out"]
        assert names(tmp_path / "out") == ["old"]

    def test_a_full_disk_is_reported_and_leaves_nothing(self, files: Files, tmp_path: Path) -> None:
        with pytest.raises(HostError, match=r"\d+ bytes needed") as refused:
            fill_and_fail(files, tmp_path / "out", OSError(errno.ENOSPC, "No space left on device"))

        assert refused.value.code == "host.no_space"
        assert names(tmp_path) == []

    def test_a_missing_folder_is_named(self, files: Files, tmp_path: Path) -> None:
        with pytest.raises(HostError, match="there is no folder"), files.staging(tmp_path / "no" / "x"):
            pass

    def test_leftover_folders_of_killed_writers_are_swept(self, files: Files, tmp_path: Path) -> None:
        (tmp_path / ".out.tmp-dead" / "sub").mkdir(parents=True)

        with files.staging(tmp_path / "out"):
            pass

        assert names(tmp_path) == ["out"]


class TestDiscard:
    def test_a_folder_goes_with_all_that_is_in_it_and_nothing_else(self, files: Files, tmp_path: Path) -> None:
        for name in ("gone", "stays"):
            (tmp_path / name).mkdir()
            fill(tmp_path / name)
            (tmp_path / name / "sub" / "file").chmod(0o444)

        files.discard(tmp_path / "gone", swept_by=tmp_path / "stays")

        assert names(tmp_path) == ["stays"]
        assert (tmp_path / "stays" / "sub" / "file").read_bytes() == b"data"

    def test_what_is_no_folder_is_not_touched(self, files: Files, tmp_path: Path) -> None:
        (tmp_path / "folder").mkdir()
        (tmp_path / "link").symlink_to(tmp_path / "folder")
        (tmp_path / "file").write_bytes(b"mine")

        for name in ("link", "file", "absent"):
            with pytest.raises(HostError):
                files.discard(tmp_path / name, swept_by=tmp_path / "other")

        assert names(tmp_path) == ["file", "folder", "link"]


def test_a_really_full_disk_leaves_the_old_file_and_no_temporary(tmp_path: Path) -> None:
    with small_disk(tmp_path / "small") as small:
        (small / "x").write_bytes(b"old")

        with pytest.raises(HostError) as refused, AtomicFiles().replacing(small / "x") as stream:
            stream.write(bytes(4 << 20))

        assert refused.value.code == "host.no_space"
        assert names(small) == ["x"]
        assert (small / "x").read_bytes() == b"old"
