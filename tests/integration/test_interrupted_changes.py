"""Packages found in the middle of a change, held by another process, on disks that share blocks."""

from __future__ import annotations

import fcntl
import io
import os
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from tests.packages import package_bytes, write_directory, write_package
from tests.partial_host import files_host

from hyperion.adapters.files import package_lock
from hyperion.adapters.files.package_change import OpenFile
from hyperion.adapters.files.package_files import LocalPackages
from hyperion.domain.manifest import MANIFEST, SIGNING
from hyperion.domain.version import Step
from hyperion.errors import ConflictError, MalformedPackageError
from hyperion.format.archive import ArchiveReader
from hyperion.format.random_access import RandomAccess
from hyperion.format.recovery import find_interrupted
from hyperion.format.update import Ending, written_ahead
from hyperion.usecases.version import check_version, recover_version, update_version


def interrupted(*, whole: bool = True) -> bytes:
    """A package whose update to 1.1.0 stopped after the first step, or in it."""
    old, new = package_bytes(), package_bytes(version="1.1.0")
    with ArchiveReader(io.BytesIO(new), "new", Path("new")) as package:
        ending = Ending(package.records(), package.manifest_bytes)
    ahead = written_ahead(len(old), ending)
    return old + (ahead if whole else ahead[:-1])


class TestReaders:
    def test_a_reader_refuses_an_interrupted_package_and_names_the_way_out(self, tmp_path: Path) -> None:
        path = tmp_path / "p"
        path.write_bytes(interrupted())

        with pytest.raises(MalformedPackageError) as refused:
            LocalPackages().open(path)

        assert refused.value.code == "package.update_interrupted"
        assert refused.value.hint is not None
        assert f"hyperion version recover {path}" in refused.value.hint
        assert path.read_bytes() == interrupted()

    def test_a_directory_with_a_half_written_manifest_is_interrupted_too(self, tmp_path: Path) -> None:
        path = write_directory(tmp_path / "p")
        (path / f".{MANIFEST}.tmp-0123456789abcdef").write_bytes(b"{")

        with pytest.raises(MalformedPackageError) as refused:
            LocalPackages().open(path)

        assert refused.value.code == "package.update_interrupted"
        assert recover_version(files_host(tmp_path), path).repair == "swept"
        LocalPackages().open(path).close()

    def test_a_reader_waits_for_a_change_that_is_under_way(self, tmp_path: Path) -> None:
        path, new = tmp_path / "p", package_bytes(version="1.1.0")
        path.write_bytes(interrupted())
        with path.open("r+b", buffering=0) as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            found: list[str] = []
            reader = threading.Thread(target=lambda: found.append(check_version(files_host(tmp_path), path).version))
            reader.start()
            stream.write(new)
            stream.truncate(len(new))
        reader.join(timeout=30)

        assert found == ["1.1.0"]


class TestRecovery:
    def test_what_was_written_ahead_whole_is_finished(self, tmp_path: Path) -> None:
        path = tmp_path / "p"
        path.write_bytes(interrupted())

        recovery = recover_version(files_host(tmp_path), path)

        assert (recovery.repair, recovery.version) == ("finished", "1.1.0")
        assert path.read_bytes() == package_bytes(version="1.1.0")

    def test_what_did_not_arrive_whole_is_taken_back(self, tmp_path: Path) -> None:
        path = tmp_path / "p"
        path.write_bytes(interrupted(whole=False))

        recovery = recover_version(files_host(tmp_path), path)

        assert (recovery.repair, recovery.version) == ("taken_back", "1.0.0")
        assert path.read_bytes() == package_bytes()

    def test_the_next_update_repairs_first(self, tmp_path: Path) -> None:
        path = tmp_path / "p"
        path.write_bytes(interrupted())

        update = update_version(files_host(tmp_path), path, Step.PATCH, None)

        assert (update.repair, update.version_before, update.version) == ("finished", "1.1.0", "1.1.1")

    @pytest.mark.parametrize(
        "damaged",
        [
            package_bytes()[:-1],
            package_bytes() + b"more",
            package_bytes() + package_bytes(),
            b"PK\x03\x04" + bytes(5_000),
            interrupted()[:30] + b"X" + interrupted()[31:],
            package_bytes()[:-200] + bytes(200),
        ],
    )
    def test_what_is_damaged_otherwise_is_refused_as_such_and_not_touched(self, damaged: bytes, tmp_path: Path) -> None:
        path = tmp_path / "p"
        path.write_bytes(damaged)

        with pytest.raises(MalformedPackageError) as refused:
            recover_version(files_host(tmp_path), path)

        assert refused.value.code != "package.update_interrupted"
        assert path.read_bytes() == damaged

    def test_no_damage_to_an_ending_is_taken_for_an_interrupted_update(self) -> None:
        whole = package_bytes()
        with ArchiveReader(io.BytesIO(whole), "p", Path("p")) as package:
            begin = package.signing_offset
        rng = random.Random(7)

        for position in rng.sample(range(begin, len(whole)), 500):
            flipped = bytearray(whole)
            flipped[position] ^= 1 << rng.randrange(8)
            assert find_interrupted(RandomAccess(io.BytesIO(bytes(flipped)))) is None
            assert find_interrupted(RandomAccess(io.BytesIO(whole[:position]))) is None

    def test_a_manifest_of_other_entries_written_ahead_is_not_finished(self) -> None:
        old = package_bytes()
        with ArchiveReader(io.BytesIO(old), "p", Path("p")) as package:
            other = package.manifest.model_copy(update={"entries": {}}).model_dump_json().encode()
            ending = Ending(package.records(), other)

        found = find_interrupted(RandomAccess(io.BytesIO(old + written_ahead(len(old), ending))))

        assert found is not None
        assert (found.ahead, found.size_bytes) == (None, len(old))


HOLDER = """
import fcntl, os, sys
fcntl.flock(os.open(sys.argv[1], os.O_RDONLY), fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read(1)
"""


class TestLock:
    @pytest.mark.parametrize("write", [write_package, write_directory])
    def test_a_package_that_another_process_does_not_let_go_is_a_conflict(  # type: ignore[no-untyped-def]
        self, write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(package_lock, "WAIT_S", 0.05)
        path = write(tmp_path / "p")
        with subprocess.Popen(
            [sys.executable, "-c", HOLDER, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as holder:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"held\n"

            with pytest.raises(ConflictError) as refused:
                update_version(files_host(tmp_path), path, Step.MINOR, None)

            holder.communicate(b"\n")
        assert refused.value.code == "package.locked"
        assert check_version(files_host(tmp_path), path).version == "1.0.0"

    def test_many_updates_at_once_all_count(self, tmp_path: Path) -> None:
        path = write_package(tmp_path / "p")
        (tmp_path / "link").hardlink_to(path)  # the first update gives the name to another file while the others wait

        def update() -> None:
            update_version(files_host(tmp_path), path, Step.PATCH, None)

        threads = [threading.Thread(target=update) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=60)

        assert check_version(files_host(tmp_path), path).version == "1.0.8"
        assert (tmp_path / "link").read_bytes() == package_bytes()


@pytest.mark.parametrize(("kind", "size"), [("xfs", "320M"), ("btrfs", "120M")])
def test_where_blocks_can_be_shared_a_clone_takes_the_name(kind: str, size: str, tmp_path: Path) -> None:
    disk, folder = tmp_path / "disk", tmp_path / "mounted"
    folder.mkdir()
    with disk.open("wb") as stream:
        stream.truncate(int(size[:-1]) << 20)
    try:
        subprocess.run([f"mkfs.{kind}", "-q", disk], check=True, capture_output=True)
        subprocess.run(["mount", "-o", "loop", disk, folder], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no {kind} can be mounted here: {error}")
    try:
        path = write_package(folder / "p")
        inode = path.stat().st_ino

        update = update_version(files_host(tmp_path), path, Step.MINOR, None)

        assert update.method == "cloned"
        assert path.stat().st_ino != inode
        with LocalPackages().open(path) as package:
            assert package.manifest.version == "1.1.0"
            assert all(package.read(name) for name in package.names())
        assert [item.name for item in folder.iterdir()] == ["p"]
    finally:
        subprocess.run(["umount", folder], check=True)


def test_a_signing_that_is_dropped_from_a_directory_leaves_no_file(tmp_path: Path) -> None:
    path = write_directory(tmp_path / "p")
    (path / SIGNING).write_bytes(b"signing")

    with LocalPackages().changing(path) as change:
        assert change.put(change.package.manifest_bytes, None) == "replaced"

    assert not (path / SIGNING).exists()


@pytest.mark.parametrize("moment", [1, 2, 3])
def test_ctrl_c_waits_for_the_change_whichever_thread_meets_it(
    moment: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, calls, done = write_package(tmp_path / "p"), iter(range(1, 100)), threading.Event()
    real = OpenFile.fsync

    def fsync(file: OpenFile) -> None:
        if next(calls) == moment:
            os.kill(os.getpid(), signal.SIGINT)
        real(file)

    monkeypatch.setattr(OpenFile, "fsync", fsync)
    bystander = threading.Thread(target=done.wait)  # where the kernel could leave the signal
    bystander.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            update_version(files_host(tmp_path), path, Step.MINOR, None)
    finally:
        done.set()
        bystander.join()

    assert check_version(files_host(tmp_path), path).version == "1.1.0"
