"""What every implementation of ports.ProofRecord promises: it remembers what is settled, and fails nobody."""

from __future__ import annotations

import stat
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.fakes.proofs import InMemoryProofRecord
from tests.permissions import permissions_hold

from hyperion.adapters.store import proof_record
from hyperion.adapters.store.proof_record import SqliteProofRecord
from hyperion.format.file_state import FileState
from hyperion.ports import ProofRecord

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
HOUR_AGO_NS = int((NOW - timedelta(hours=1)).timestamp()) * 1_000_000_000
FILE = FileState(device=2049, inode=2**64 - 1, size_bytes=2**40, mtime_ns=HOUR_AGO_NS, ctime_ns=HOUR_AGO_NS + 7)
DIGEST = "sha256:" + "a" * 64
OTHER = "sha256:" + "b" * 64


@pytest.fixture(params=["memory", "sqlite"])
def record(request: pytest.FixtureRequest, tmp_path: Path) -> ProofRecord:
    return InMemoryProofRecord() if request.param == "memory" else SqliteProofRecord(tmp_path / "state")


def test_what_was_remembered_is_recalled_with_its_time(record: ProofRecord) -> None:
    record.remember([(FILE, DIGEST)], NOW)

    assert record.recall([(FILE, DIGEST)]) == {(FILE, DIGEST): NOW}


def test_nothing_is_known_before(record: ProofRecord) -> None:
    assert record.recall([(FILE, DIGEST)]) == {}


@pytest.mark.parametrize("field", ["device", "inode", "size_bytes", "mtime_ns", "ctime_ns"])
def test_a_file_in_another_state_is_not_known(field: str, record: ProofRecord) -> None:
    record.remember([(FILE, DIGEST)], NOW)

    other = replace(FILE, **{field: getattr(FILE, field) - 1})

    assert record.recall([(other, DIGEST)]) == {}


def test_another_digest_of_the_same_file_is_not_known(record: ProofRecord) -> None:
    record.remember([(FILE, DIGEST)], NOW)

    assert record.recall([(FILE, "sha256:" + "b" * 64)]) == {}


@pytest.mark.parametrize("field", ["mtime_ns", "ctime_ns"])
def test_a_file_that_changed_a_moment_ago_is_not_remembered(field: str, record: ProofRecord) -> None:
    """A second change in the same grain of the clock would leave its time stamps as they are."""
    young = replace(FILE, **{field: int(NOW.timestamp()) * 1_000_000_000 - 1_900_000_000})

    record.remember([(young, DIGEST)], NOW)

    assert record.recall([(young, DIGEST)]) == {}


def test_the_newest_proof_of_a_file_counts(record: ProofRecord) -> None:
    record.remember([(FILE, DIGEST)], NOW - timedelta(minutes=5))
    record.remember([(FILE, DIGEST)], NOW)

    assert record.recall([(FILE, DIGEST)]) == {(FILE, DIGEST): NOW}


class TestOnDisk:
    """What a file may suffer costs time, never a failure or a wrong answer."""

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        SqliteProofRecord(tmp_path).remember([(FILE, DIGEST)], NOW)
        return tmp_path / "proofs.db"

    def test_it_is_this_users_alone(self, path: Path) -> None:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600

    @pytest.mark.parametrize("content", [b"", b"no database" * 100, b"SQLite format 3\0" + bytes(4096)])
    def test_a_damaged_record_is_begun_anew(self, content: bytes, path: Path) -> None:
        path.write_bytes(content)
        record = SqliteProofRecord(path.parent)

        assert record.recall([(FILE, DIGEST)]) == {}
        record.remember([(FILE, DIGEST)], NOW)
        record.remember([(FILE, DIGEST)], NOW)

        assert record.recall([(FILE, DIGEST)]) == {(FILE, DIGEST): NOW}

    def test_a_record_damaged_in_the_middle_fails_nobody(self, path: Path) -> None:
        data = bytearray(path.read_bytes())
        data[100:] = bytes(len(data) - 100)
        path.write_bytes(data)
        record = SqliteProofRecord(path.parent)

        assert record.recall([(FILE, DIGEST)]) == {}

    def test_a_record_that_others_may_write_is_not_believed(self, path: Path) -> None:
        path.chmod(0o666)

        assert SqliteProofRecord(path.parent).recall([(FILE, DIGEST)]) == {}

    def test_a_folder_in_its_place_fails_nobody(self, tmp_path: Path) -> None:
        (tmp_path / "proofs.db").mkdir()
        record = SqliteProofRecord(tmp_path)

        record.remember([(FILE, DIGEST)], NOW)

        assert record.recall([(FILE, DIGEST)]) == {}

    def test_a_state_folder_that_cannot_be_made_fails_nobody(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        record = SqliteProofRecord(tmp_path / "file" / "state")

        record.remember([(FILE, DIGEST)], NOW)

        assert record.recall([(FILE, DIGEST)]) == {}

    def test_a_state_folder_that_may_only_be_read_is_still_read(self, path: Path) -> None:
        path.parent.chmod(0o500)
        try:
            with permissions_hold():
                record = SqliteProofRecord(path.parent)
                record.remember([(FILE, OTHER)], NOW)
                found = record.recall([(FILE, DIGEST), (FILE, OTHER)])
        finally:
            path.parent.chmod(0o700)
        assert found == {(FILE, DIGEST): NOW}

    def test_reading_leaves_no_trace(self, tmp_path: Path) -> None:
        SqliteProofRecord(tmp_path / "state").recall([(FILE, DIGEST)])

        assert list(tmp_path.iterdir()) == []

    def test_it_does_not_grow_without_end(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(proof_record, "MAX_PROOFS", 10)
        record = SqliteProofRecord(tmp_path)
        files = [(replace(FILE, inode=number), DIGEST) for number in range(15)]

        for minute, file in enumerate(files):
            record.remember([file], NOW + timedelta(minutes=minute))

        assert list(record.recall(files)) == files[5:]
