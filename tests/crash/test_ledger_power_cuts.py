"""The ledger after a power cut: all that it confirmed, at most the one commit in progress beyond it, and a whole chain.

SQLite writes below Python, so its two files are copied after every commit, and what lay between two copies is cut by
the disk of the other power cuts. A commit is in the log (``-wal``) and synced before it is confirmed; the file itself
changes only when the log is written back, after that.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest

from hyperion.adapters.store.ledger import SqliteLedger
from hyperion.domain.event import EventKind
from tests.crash.disk import SECTOR_BYTES, File
from tests.fakes.clock import FakeClock
from tests.fakes.values import make_draft, make_revision

REVISIONS = 30
IMAGES = 2
"""Of each cut, with other sectors on the disk."""


class Files(NamedTuple):
    """The bytes of both files after a commit."""

    main: bytes
    log: bytes


class Change(NamedTuple):
    """One commit, or the log written back: both files before and after it, and the events confirmed after it."""

    before: Files
    after: Files
    confirmed: int


@pytest.fixture(scope="module")
def changes(tmp_path_factory: pytest.TempPathFactory) -> list[Change]:
    """Revisions that are made and promoted; after every few, the log is written back."""
    path = tmp_path_factory.mktemp("state") / "ledger.db"
    found = []
    with closing(SqliteLedger(path, FakeClock())) as ledger:
        ledger.append(make_draft())
        before = _files(path)
        for change in _changes(ledger):
            change()
            after = _files(path)
            found.append(Change(before, after, ledger.head().sequence))
            before = after
    return found


def _changes(ledger: SqliteLedger) -> Iterator[Callable[[], object]]:
    for number in range(1, REVISIONS + 1):
        yield partial(ledger.create_revision, make_revision(number))
        promoted = make_draft(EventKind.ROLLOUT_PROMOTED, revision=number)
        yield partial(ledger.promote, "mlp", number, promoted)
        yield ledger.tidy


def _files(path: Path) -> Files:
    log = path.with_name(path.name + "-wal")
    return Files(path.read_bytes(), log.read_bytes() if log.exists() else b"")


def _cut(before: bytes, after: bytes, rng: random.Random) -> bytes:
    """A file that changed so, where the power went before the change was synced."""
    file = File(durable=before, now=bytearray(before))
    for offset in range(0, len(after), SECTOR_BYTES):
        sector = after[offset : offset + SECTOR_BYTES]
        if before[offset : offset + SECTOR_BYTES] != sector:
            file.write(offset, sector)
    return file.after_power_cut(rng) if file.is_unsure() else before


def _read(folder: Path, files: Files) -> tuple[int, int | None]:
    """Of a ledger that is opened again: its last event, and the first broken one; its tables must agree."""
    folder.mkdir()
    path = folder / "ledger.db"
    path.write_bytes(files.main)
    path.with_name("ledger.db-wal").write_bytes(files.log)
    with closing(SqliteLedger(path, FakeClock())) as ledger:
        made = ledger.events("mlp", (EventKind.REVISION_CREATED,))
        promoted = ledger.events("mlp", (EventKind.ROLLOUT_PROMOTED,))
        assert [revision.number for revision in ledger.revisions("mlp")] == [event.revision for event in made]
        assert [found.active_revision for found in ledger.deployments()] == [
            promoted[-1].revision if promoted else None for _ in made[:1]
        ]
        return ledger.head().sequence, ledger.first_broken()


def test_a_cut_within_a_commit_leaves_the_old_ledger_or_the_new(changes: list[Change], tmp_path: Path) -> None:
    rng, found = random.Random(5), set()
    for number, commit in enumerate(change for change in changes if change.before.main == change.after.main):
        for image in range(IMAGES):
            cut = Files(commit.before.main, _cut(commit.before.log, commit.after.log, rng))
            end, broken = _read(tmp_path / f"{number}-{image}", cut)
            assert broken is None
            assert end in (commit.confirmed - 1, commit.confirmed)
            found.add(end - commit.confirmed)
    assert found == {-1, 0}  # the cuts reached both


def test_a_cut_while_the_log_is_written_back_loses_nothing(changes: list[Change], tmp_path: Path) -> None:
    rng = random.Random(6)
    written_back = [change for change in changes if change.before.main != change.after.main]
    assert written_back
    for number, change in enumerate(written_back):
        for image in range(15 * IMAGES):
            cut = Files(_cut(change.before.main, change.after.main, rng), change.before.log)
            assert _read(tmp_path / f"{number}-{image}", cut) == (change.confirmed, None)


def test_what_was_confirmed_is_there_when_the_power_goes_before_anything_else(
    changes: list[Change], tmp_path: Path
) -> None:
    for number, change in enumerate(changes[::3]):
        assert _read(tmp_path / str(number), change.after) == (change.confirmed, None)
