"""The SQLite ledger against real faults: killed writers, several processes, full, foreign and damaged files."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest
from tests.fakes.clock import FakeClock
from tests.fakes.values import make_draft, make_revision
from tests.permissions import permissions_hold

from hyperion.adapters.host.system_clock import SystemClock
from hyperion.adapters.store.ledger import SqliteLedger
from hyperion.domain.event import EventKind
from hyperion.errors import HostError

WRITER = """
import sys
from pathlib import Path
from hyperion.adapters.store.ledger import SqliteLedger
from hyperion.adapters.host.system_clock import SystemClock
from hyperion.domain.event import EventDraft, EventKind

ledger = SqliteLedger(Path(sys.argv[1]), SystemClock())
for number in range(int(sys.argv[2])):
    event = ledger.append(EventDraft(kind=EventKind.WORKER_READY, actor=sys.argv[3], data={"number": number}))
    print(event.sequence, flush=True)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "ledger.db"


def start_writer(path: Path, count: int, name: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), str(count), name], stdout=subprocess.PIPE, text=True
    )


def open_ledger(path: Path) -> SqliteLedger:
    return SqliteLedger(path, SystemClock())


def test_a_killed_writer_leaves_a_whole_chain_with_all_that_it_was_told_is_recorded(path: Path) -> None:
    confirmed = 0
    for _ in range(3):
        writer = start_writer(path, 1_000_000, "victim")
        assert writer.stdout is not None
        for _ in range(20):
            confirmed = int(writer.stdout.readline())
        writer.send_signal(signal.SIGKILL)
        rest, _ = writer.communicate()
        confirmed = max([confirmed, *map(int, rest.split())])

        with closing(open_ledger(path)) as ledger:
            assert ledger.head().sequence >= confirmed
            assert ledger.first_broken() is None


def test_two_processes_append_in_turns_while_a_third_reads(path: Path) -> None:
    writers = [start_writer(path, 150, name) for name in ("one", "two")]

    with closing(open_ledger(path)) as reader:
        while any(writer.poll() is None for writer in writers):
            assert reader.first_broken() is None
        numbers = [(event.actor, event.data["number"]) for event in reader.events()]

    outputs = [writer.communicate()[0].split() for writer in writers]
    assert [len(output) for output in outputs] == [150, 150]
    assert [number for actor, number in numbers if actor == "one"] == list(range(150))
    assert [number for actor, number in numbers if actor == "two"] == list(range(150))


def test_many_processes_may_make_the_ledger_at_once(path: Path) -> None:
    writers = [start_writer(path, 1, f"writer{number}") for number in range(6)]

    assert sorted(int(writer.communicate()[0]) for writer in writers) == [1, 2, 3, 4, 5, 6]
    with closing(open_ledger(path)) as ledger:
        assert ledger.first_broken() is None


def test_several_threads_share_one_ledger(path: Path) -> None:
    with closing(open_ledger(path)) as ledger:
        threads = [threading.Thread(target=lambda: [ledger.append(make_draft()) for _ in range(25)]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert ledger.head().sequence == 100
        assert ledger.first_broken() is None


def test_a_ledger_is_read_while_another_process_is_in_the_middle_of_writing(path: Path) -> None:
    with closing(open_ledger(path)) as ledger:
        ledger.append(make_draft())
        with closing(sqlite3.connect(path, isolation_level=None)) as writer:
            writer.execute("BEGIN IMMEDIATE")
            writer.execute("INSERT INTO revisions VALUES ('mlp', 1, 1)")

            assert ledger.head().sequence == 1
            assert ledger.revisions("mlp") == ()
            writer.execute("ROLLBACK")


def test_what_was_written_is_there_after_reopening(path: Path) -> None:
    with closing(SqliteLedger(path, FakeClock())) as ledger:
        ledger.create_revision(make_revision(1))
        ledger.promote("mlp", 1, make_draft(EventKind.ROLLOUT_PROMOTED, revision=1))
        before = (ledger.events(), ledger.deployments(), ledger.revisions("mlp"))

    with closing(open_ledger(path)) as ledger:
        assert (ledger.events(), ledger.deployments(), ledger.revisions("mlp")) == before


def test_the_state_folder_is_made_for_its_owner_alone(path: Path) -> None:
    with closing(open_ledger(path)) as ledger:
        ledger.append(make_draft())

    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_every_commit_is_synchronous(path: Path) -> None:
    with closing(open_ledger(path)) as ledger:
        ledger.append(make_draft())
        assert ledger._connection is not None
        (synchronous,) = ledger._connection.execute("PRAGMA synchronous").fetchone()
        (journal,) = ledger._connection.execute("PRAGMA journal_mode").fetchone()

    assert (synchronous, journal) == (2, "wal")  # 2 is FULL


def test_a_ledger_of_a_later_hyperion_is_refused_by_name_and_left_as_it_is(path: Path) -> None:
    with closing(open_ledger(path)) as ledger:
        ledger.append(make_draft())
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 2")
    before = path.read_bytes()

    with pytest.raises(HostError) as refusal:
        open_ledger(path).head()

    assert refusal.value.code == "ledger.newer_schema"
    assert "schema 2" in refusal.value.message
    assert "upgrade" in str(refusal.value.hint)
    assert path.read_bytes() == before


def test_a_database_of_another_program_is_refused_and_left_as_it_is(path: Path) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE bookmarks (url TEXT)")
    before = path.read_bytes()

    with pytest.raises(HostError) as refusal:
        open_ledger(path).append(make_draft())

    assert refusal.value.code == "ledger.foreign"
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "damage", [b"no database at all, but long enough for a header" * 10, b"SQLite format 3\0" * 40]
)
def test_a_file_that_is_no_database_is_refused(path: Path, damage: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(damage)

    with pytest.raises(HostError) as refusal:
        open_ledger(path).append(make_draft())

    assert refusal.value.code == "ledger.corrupt"
    assert str(path) in refusal.value.message
    assert path.read_bytes() == damage


def test_a_damaged_page_is_reported_with_what_to_do(path: Path) -> None:
    with closing(open_ledger(path)) as ledger:
        for _ in range(60):
            ledger.append(make_draft())
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    path.write_bytes(bytes(content))

    with closing(open_ledger(path)) as ledger, pytest.raises(HostError) as refusal:
        ledger.events()

    assert refusal.value.code == "ledger.corrupt"
    assert "aside" in str(refusal.value.hint)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE events SET at = 'yesterday' WHERE sequence = 2",
        "UPDATE events SET data = 'no JSON' WHERE sequence = 2",
        "UPDATE events SET data = '' WHERE sequence = 2",
    ],
)
def test_a_row_that_is_no_event_is_reported_as_damage_and_found_by_the_chain(path: Path, statement: str) -> None:
    with closing(open_ledger(path)) as ledger:
        ledger.append(make_draft())
        ledger.append(make_draft())
    tamper(path, statement)

    with closing(open_ledger(path)) as ledger:
        assert ledger.first_broken() == 2
        with pytest.raises(HostError) as refusal:
            ledger.events()

    assert refusal.value.code == "ledger.corrupt"


def test_data_deeper_than_any_event_is_found_by_the_chain(path: Path) -> None:
    with closing(open_ledger(path)) as ledger:
        ledger.append(make_draft())
    tamper(path, "UPDATE events SET data = replace(hex(zeroblob(50000)), '0', '[')")

    with closing(open_ledger(path)) as ledger:
        assert ledger.first_broken() == 1


def test_a_folder_without_write_permission_is_reported_with_what_to_do(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)

    with permissions_hold(), pytest.raises(HostError) as refusal:
        open_ledger(tmp_path / "ledger.db").append(make_draft())

    tmp_path.chmod(0o700)
    assert refusal.value.code == "ledger.not_writable"


def test_a_file_in_the_place_of_the_state_folder_is_reported(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")

    with pytest.raises(HostError):
        open_ledger(tmp_path / "state" / "ledger.db").append(make_draft())


def test_a_folder_in_the_place_of_the_ledger_is_reported(path: Path) -> None:
    path.mkdir(parents=True)

    with pytest.raises(HostError) as refusal:
        open_ledger(path).append(make_draft())

    assert refusal.value.code == "ledger.not_writable"


def test_a_full_disk_is_reported_and_nothing_is_recorded(path: Path) -> None:
    with closing(open_ledger(path)) as ledger:
        ledger.create_revision(make_revision(1))
        head = ledger.head()
        assert ledger._connection is not None
        (pages,) = ledger._connection.execute("PRAGMA page_count").fetchone()
        ledger._connection.execute(f"PRAGMA max_page_count = {pages}")  # SQLite then fails as on a full disk

        with pytest.raises(HostError) as refusal:
            ledger.append(make_draft(data={"text": "x" * 100_000}))

        assert refusal.value.code == "ledger.full"
        assert ledger.head() == head
        assert ledger.first_broken() is None
        ledger._connection.execute("PRAGMA max_page_count = 4294967294")
        assert ledger.append(make_draft()).sequence == head.sequence + 1


def test_a_write_that_outlasts_the_wait_is_reported_as_busy(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hyperion.adapters.store.ledger_file.BUSY_TIMEOUT_S", 0.05)
    path.parent.mkdir()
    with closing(open_ledger(path)) as ledger, closing(sqlite3.connect(path, isolation_level=None)) as other:
        ledger.append(make_draft())
        other.execute("BEGIN IMMEDIATE")

        with pytest.raises(HostError) as refusal:
            ledger.append(make_draft())

        other.execute("ROLLBACK")
        assert refusal.value.code == "ledger.busy"


def test_recorded_rows_cannot_be_changed_by_accident(path: Path) -> None:
    with closing(open_ledger(path)) as ledger:
        ledger.create_revision(make_revision(1))
        assert ledger._connection is not None
        for statement in ("DELETE FROM events", "UPDATE events SET actor = 'mallory'", "DELETE FROM revisions"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                ledger._connection.execute(statement)


def tamper(path: Path, statement: str) -> None:
    """Change the file as someone would who knows SQLite."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for (trigger,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall():
            connection.execute(f"DROP TRIGGER {trigger}")
        connection.execute("PRAGMA ignore_check_constraints = ON")
        connection.execute(statement)


def test_reading_a_ledger_that_is_not_there_leaves_no_trace(tmp_path: Path) -> None:
    ledger = SqliteLedger(tmp_path / "home" / "ledger.db", FakeClock())

    assert ledger.deployments() == ()
    assert ledger.events() == ()
    assert ledger.first_broken() is None
    assert not (tmp_path / "home").exists()
