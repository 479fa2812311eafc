"""What was proven is not read again, until anything about its file changes."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.fakes.clock import FakeClock
from tests.fakes.proofs import InMemoryProofRecord
from tests.packages import entries, write_directory, write_package

from hyperion.adapters.files.atomic_file import AtomicFiles
from hyperion.adapters.files.package_files import LocalPackages
from hyperion.adapters.store.local_store import LocalPackageStore
from hyperion.errors import DigestMismatchError
from hyperion.format.package import PackageReader
from hyperion.verification.proof import PackageProof, prove_package

ALL = len(entries())
WEIGHTS = "weights/layer0.weights"


def later() -> FakeClock:
    """A clock that is an hour ahead of the files that a test just wrote."""
    return FakeClock(datetime.now(UTC) + timedelta(hours=1))


@pytest.fixture
def record() -> InMemoryProofRecord:
    return InMemoryProofRecord()


def prove(opened: PackageReader | Path, record: InMemoryProofRecord, *, recall: bool = True) -> PackageProof:
    package = LocalPackages().open(opened) if isinstance(opened, Path) else opened
    with package:
        return prove_package(package, record, later(), recall=recall, threads=2)


def stored(folder: Path) -> PackageReader:
    store = LocalPackageStore(folder / "state", AtomicFiles())
    with LocalPackages().open(write_package(folder / "source")) as package:
        return store.open(store.admit(package))


@pytest.mark.parametrize("form", ["file", "directory", "store"])
def test_the_second_time_nothing_is_read(form: str, record: InMemoryProofRecord, tmp_path: Path) -> None:
    make = {"file": write_package, "directory": write_directory}
    opened = stored(tmp_path) if form == "store" else make[form](tmp_path / "p")

    first, second = prove(opened, record), prove(opened, record)

    assert (first.read, first.recalled, first.proven_at) == (ALL, 0, None)
    assert (second.read, second.recalled) == (0, ALL)
    assert second.proven_at is not None
    assert "unchanged since" in second.describe()
    assert "read now" in first.describe()


@pytest.mark.parametrize("write", [write_package, write_directory])
def test_who_does_not_recall_reads_all_of_it(write, record: InMemoryProofRecord, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    path = write(tmp_path / "p")
    prove(path, record)

    assert prove(path, record, recall=False).read == ALL


def test_a_touched_package_is_read_again(record: InMemoryProofRecord, tmp_path: Path) -> None:
    path = write_package(tmp_path / "p")
    prove(path, record)
    os.utime(path)

    assert prove(path, record).read == ALL


def test_damage_behind_old_time_stamps_is_found(record: InMemoryProofRecord, tmp_path: Path) -> None:
    folder = write_directory(tmp_path / "p")
    prove(folder, record)
    found = (folder / WEIGHTS).stat()
    with (folder / WEIGHTS).open("r+b") as stream:
        stream.seek(-1, os.SEEK_END)
        stream.write(b"\xff")
    os.utime(folder / WEIGHTS, ns=(found.st_atime_ns, found.st_mtime_ns))

    proof = prove(folder, record)

    assert list(proof.faults) == [WEIGHTS]
    assert (proof.read, proof.recalled) == (1, ALL - 1)
    with pytest.raises(DigestMismatchError):
        proof.require()


def test_a_damaged_package_is_never_remembered(record: InMemoryProofRecord, tmp_path: Path) -> None:
    path = write_package(tmp_path / "p")
    with LocalPackages().open(path) as package:
        offset = package.locate(WEIGHTS).offset
    with path.open("r+b") as stream:
        stream.seek(offset)
        stream.write(b"\xff")

    assert prove(path, record).faults
    assert prove(path, record).faults
    assert record.proofs == {}


def test_fresh_files_are_proven_but_not_remembered(record: InMemoryProofRecord, tmp_path: Path) -> None:
    with LocalPackages().open(write_package(tmp_path / "p")) as package:
        proof = prove_package(package, record, FakeClock(datetime.now(UTC)), recall=True, threads=1)

    assert proof.read == ALL
    assert record.proofs == {}


def test_progress_tells_of_recalled_bytes_too(record: InMemoryProofRecord, tmp_path: Path) -> None:
    path = write_package(tmp_path / "p")
    prove(path, record)
    told: list[int] = []

    with LocalPackages().open(path) as package:
        prove_package(package, record, later(), recall=True, threads=1, progress=told.append)
        assert sum(told) == package.manifest.total_bytes


def test_a_large_entry_proven_by_its_chunks_is_remembered_as_such(record: InMemoryProofRecord, tmp_path: Path) -> None:
    folder = write_directory(tmp_path / "p", entries() | {"assets/big": bytes(9 * 1024 * 1024)})

    first, second = prove(folder, record), prove(folder, record)

    assert first.by_chunks == ("assets/big",)
    assert "assets/big by chunks" in first.describe()
    assert second.read == 0
    with LocalPackages().open(folder) as package:
        assert package.manifest.entries["assets/big"].digest not in {digest for _, digest in record.proofs}
