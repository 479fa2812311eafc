"""log verify and log export: an edit shows, and so does a chain written anew, beside a head that was kept elsewhere."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.fakes.clock import FakeClock
from tests.fakes.values import make_draft, make_revision
from tests.partial_host import files_host

from hyperion.adapters.store.ledger import SqliteLedger
from hyperion.domain.backup import Backup
from hyperion.domain.event import START, EventKind
from hyperion.errors import ConfigError, ConflictError, NotFoundError
from hyperion.ports import Host
from hyperion.usecases.log import export_log, print_log, verify_log


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """A host whose ledger, in SQLite, has three events."""
    host = new_host(tmp_path / "state", "alice")
    yield host
    host.ledger.close()  # type: ignore[attr-defined]


def new_host(state: Path, actor: str) -> Host:
    clock = FakeClock()
    ledger = SqliteLedger(state / "ledger.db", clock)
    for number in range(3):
        ledger.append(make_draft(EventKind.WORKER_READY, revision=number + 1, actor=actor))
        clock.advance(1)
    return files_host(state, clock=clock, ledger=ledger)


@pytest.fixture
def export(host: Host, tmp_path: Path) -> Path:
    export_log(host, tmp_path / "ledger.jsonl")
    return tmp_path / "ledger.jsonl"


def rewrite(host: Host, statement: str) -> None:
    """What somebody can do who may write the state folder: the triggers do not hold them."""
    with sqlite3.connect(host.state_dir / "ledger.db") as connection:
        connection.execute("DROP TRIGGER events_are_never_updated")
        connection.execute("DROP TRIGGER events_are_never_deleted")
        connection.execute(statement)
    connection.close()


def reasons(host: Host, *against: Path) -> list[str | None]:
    return [finding.reason for finding in verify_log(host, against).failures()]


def test_a_whole_ledger_is_ok_alone_and_beside_its_export(host: Host, export: Path) -> None:
    report = verify_log(host, [export])

    assert report.ok
    assert [finding.check for finding in report.findings] == ["ledger.chain", "ledger.head"]


def test_an_export_stands_in_a_chain_that_went_on(host: Host, export: Path) -> None:
    host.ledger.append(make_draft())

    assert verify_log(host, [export]).ok


@pytest.mark.parametrize(
    "statement",
    ["UPDATE events SET actor = 'mallory' WHERE sequence = 2", "DELETE FROM events WHERE sequence = 2"],
)
def test_an_edit_shows_by_itself(host: Host, export: Path, statement: str) -> None:
    rewrite(host, statement)

    chain, head = verify_log(host, [export]).findings
    assert chain.summary.startswith("the chain is broken at event")
    assert str(head.reason).startswith("the chain is broken before it")


def test_a_chain_that_was_written_anew_shows_only_beside_a_head_kept_elsewhere(export: Path, tmp_path: Path) -> None:
    forged = new_host(tmp_path / "forged", "mallory")

    assert verify_log(forged, []).ok
    assert "written anew" in str(reasons(forged, export)[0])
    forged.ledger.close()  # type: ignore[attr-defined]


def test_a_ledger_that_lost_its_end_shows_beside_an_export(host: Host, export: Path) -> None:
    rewrite(host, "DELETE FROM events WHERE sequence = 3")

    assert verify_log(host, []).ok
    assert "the ledger ends at event 2" in str(reasons(host, export)[0])


def test_the_head_of_a_backup_is_compared_too(host: Host, tmp_path: Path) -> None:
    backup = Backup(
        deployment="mlp", revision=1, digest="sha256:" + "0" * 64, model="mlp", version="1.0.0",
        ledger=host.ledger.head(), created_at=host.clock.now(),
    )  # fmt: skip
    (tmp_path / "backup.json").write_text(backup.model_dump_json())

    assert verify_log(host, [tmp_path]).ok
    rewrite(host, "DELETE FROM events WHERE sequence = 3")
    assert not verify_log(host, [tmp_path]).ok


@pytest.mark.parametrize(
    ("statement", "fault"),
    [
        (
            "UPDATE deployments SET desired_revision = 1, active_revision = 1",
            "desired: expected revision 2, found revision 1; active: expected revision 2, found revision 1",
        ),
        ("DELETE FROM deployments", "it is not there, though events tell of it"),
    ],
)
def test_revisions_made_active_by_another_hand_show_though_the_chain_is_whole(
    host: Host, statement: str, fault: str
) -> None:
    for number in (1, 2):
        host.ledger.create_revision(make_revision(number))
        host.ledger.promote("mlp", number, make_draft(EventKind.ROLLOUT_PROMOTED, revision=number))
    assert verify_log(host, []).ok

    rewrite(host, statement)

    (finding,) = verify_log(host, []).failures()
    assert (finding.check, finding.entry, finding.reason) == ("ledger.pointers", "mlp", fault)


def cut(lines: list[str]) -> list[str]:
    return lines[:-1]


def edit(lines: list[str]) -> list[str]:
    return [line.replace("alice", "mallory") for line in lines]


def garble(lines: list[str]) -> list[str]:
    return [*lines, "{}\n"]


@pytest.mark.parametrize("damage", [cut, edit, garble])
def test_an_export_that_was_changed_proves_nothing(
    host: Host, export: Path, damage: Callable[[list[str]], list[str]]
) -> None:
    export.write_text("".join(damage(export.read_text().splitlines(keepends=True))))

    (finding,) = verify_log(host, [export]).failures()

    assert "is not what was written" in finding.summary


def test_what_is_neither_backup_nor_export_is_refused(host: Host, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "empty").mkdir()

    with pytest.raises(ConfigError) as wrong:
        verify_log(host, [tmp_path / "notes.txt"])
    for absent in ("absent", "empty"):
        with pytest.raises(NotFoundError):
            verify_log(host, [tmp_path / absent])

    assert wrong.value.code == "log.no_export"


# --- export ---


def test_an_export_is_the_head_and_then_every_event_a_line(host: Host, export: Path) -> None:
    first, *events = map(json.loads, export.read_text().splitlines())

    assert first["format"] == "hyperion.ledger"
    assert first["head"] == host.ledger.head().model_dump()
    assert [event["sequence"] for event in events] == [1, 2, 3]
    assert events[-1]["hash"] == first["head"]["hash"]
    assert "".join(print_log(host)) == export.read_text()


def test_an_empty_ledger_is_exported_and_stands(tmp_path: Path) -> None:
    ledger = SqliteLedger(tmp_path / "none" / "ledger.db", FakeClock())
    host = files_host(tmp_path, ledger=ledger)

    summary = export_log(host, tmp_path / "ledger.jsonl")

    assert (summary.events, summary.head) == (0, START)
    assert verify_log(host, [tmp_path / "ledger.jsonl"]).ok


def test_an_earlier_export_is_replaced(host: Host, export: Path) -> None:
    host.ledger.append(make_draft())

    assert export_log(host, export).events == 4


@pytest.mark.parametrize("kind", ["file", "folder", "pipe", "dangling link"])
def test_what_is_no_export_of_ours_is_not_touched(host: Host, tmp_path: Path, kind: str) -> None:
    output = tmp_path / "mine"
    if kind == "file":
        output.write_text("mine")
    elif kind == "folder":
        output.mkdir()
    elif kind == "pipe":
        os.mkfifo(output)
    else:
        output.symlink_to(tmp_path / "nowhere")

    with pytest.raises(ConflictError) as refusal:
        export_log(host, output)

    assert refusal.value.code == "conflict.output_exists"


def test_the_export_of_a_broken_chain_says_so(host: Host, tmp_path: Path) -> None:
    rewrite(host, "UPDATE events SET actor = 'mallory' WHERE sequence = 2")

    assert export_log(replace(host), tmp_path / "ledger.jsonl").first_broken == 2
