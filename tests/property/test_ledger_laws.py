"""The chain of the ledger: whoever changes anything stored is found out."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta, timezone
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from pydantic import ValidationError
from tests.fakes.clock import START as BEGIN
from tests.fakes.clock import FakeClock
from tests.fakes.ledger import InMemoryLedger
from tests.fakes.values import make_draft, make_revision

from hyperion.adapters.store.ledger import SqliteLedger
from hyperion.domain.event import START, Event, EventDraft, EventKind, hash_of
from hyperion.domain.evidence import ArmFigures, Evidence
from hyperion.domain.finding import Finding, Outcome
from hyperion.errors import HyperionError

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(-(2.0**53) + 1, 2.0**53 - 1) | TEXTS,
    lambda children: st.lists(children, max_size=3) | st.dictionaries(TEXTS, children, max_size=3),
    max_leaves=6,
)
DRAFTS = st.builds(
    EventDraft,
    kind=st.sampled_from(EventKind),
    deployment=st.none() | TEXTS,
    revision=st.none() | st.integers(0, 1000),
    actor=TEXTS,
    data=st.dictionaries(TEXTS, JSON, max_size=3),
)
ZONES = st.integers(-12, 14).map(lambda hours: timezone(timedelta(hours=hours)))
TIMES = st.builds(
    lambda after, zone: (BEGIN + after).astimezone(zone), st.timedeltas(timedelta(0), timedelta(days=300_000)), ZONES
)


@settings(deadline=None)
@given(DRAFTS, TIMES)
def test_an_event_follows_the_head_that_it_was_made_for(draft: EventDraft, at: datetime) -> None:
    event = draft.after(START, at)

    assert event.follows(START)
    assert event.at == at
    assert Event.model_validate_json(event.model_dump_json()) == event


@settings(deadline=None)
@given(DRAFTS, TIMES)
def test_the_fields_that_are_written_are_those_of_the_event(draft: EventDraft, at: datetime) -> None:
    event, fields = draft.sealed(START, at)

    assert fields == event.model_dump(mode="json")


@settings(deadline=None)
@given(DRAFTS, TIMES, st.data())
def test_a_change_of_any_field_breaks_an_event(draft: EventDraft, at: datetime, data: st.DataObject) -> None:
    event = draft.after(START, at)
    field = data.draw(st.sampled_from(sorted(Event.model_fields)))
    values: dict[str, st.SearchStrategy[Any]] = {
        "kind": st.sampled_from(EventKind),
        "deployment": st.none() | TEXTS,
        "revision": st.none() | st.integers(0, 1000),
        "actor": TEXTS,
        "data": st.dictionaries(TEXTS, JSON, max_size=3),
        "sequence": st.integers(0, 1000),
        "at": st.just(event.at + timedelta(microseconds=1)),
        "previous": TEXTS,
        "hash": TEXTS,
    }
    value = data.draw(values[field].filter(lambda value: value != getattr(event, field)))

    assert not event.model_copy(update={field: value}).follows(START)


@settings(deadline=None)
@given(st.sampled_from([float("nan"), float("inf"), 2.0**53, -(2**53), 10**30]))
def test_a_number_that_json_readers_would_change_is_refused(number: float) -> None:
    with pytest.raises(ValidationError):
        make_draft(data={"deep": [{"number": number}]})


@pytest.fixture(scope="module")
def rows() -> Iterator[tuple[Path, list[tuple[Any, ...]]]]:
    """A ledger of six events and its rows."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.db"
        with closing(SqliteLedger(path, FakeClock())) as ledger:
            ledger.create_revision(make_revision(1))
            for number in range(5):
                ledger.append(make_draft(revision=number, data={"number": number, "text": "ü"}))
        with closing(sqlite3.connect(path)) as connection:
            yield path, connection.execute("SELECT * FROM events").fetchall()


def write_rows(path: Path, rows: list[tuple[Any, ...]]) -> None:
    """Put other rows in the place of those that are stored, as someone would who knows SQLite."""
    with closing(sqlite3.connect(path)) as connection, connection:
        for (trigger,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall():
            connection.execute(f"DROP TRIGGER {trigger}")
        connection.execute("DELETE FROM events")
        connection.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)


def first_broken(path: Path) -> int | None:
    with closing(SqliteLedger(path, FakeClock())) as ledger:
        return ledger.first_broken()


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_change_of_a_stored_value_is_found(rows: tuple[Path, list[tuple[Any, ...]]], data: st.DataObject) -> None:
    path, stored = rows
    index = data.draw(st.integers(0, len(stored) - 1), "row")
    column = data.draw(st.integers(0, 8), "column")
    old = stored[index][column]
    changed: st.SearchStrategy[Any]
    if column == 0:
        changed = st.integers(len(stored) + 1, 100)
    elif isinstance(old, int):
        changed = st.integers(0, 100) | st.integers(-(2**63), 2**63 - 1)
    else:
        position = data.draw(st.integers(0, len(old) - 1), "position")
        character = st.characters(exclude_categories=["Cs"]) | st.just(" ")
        changed = character.map(lambda new: old[:position] + new + old[position + 1 :])
    value = data.draw(changed.filter(lambda new: new != old), "value")
    row = (*stored[index][:column], value, *stored[index][column + 1 :])

    write_rows(path, [*stored[:index], row, *stored[index + 1 :]])

    assert first_broken(path) is not None


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_a_removed_or_moved_event_is_found(rows: tuple[Path, list[tuple[Any, ...]]], data: st.DataObject) -> None:
    path, stored = rows
    index = data.draw(st.integers(0, len(stored) - 2), "row")
    removed = [*stored[:index], *stored[index + 1 :]]
    renumbered = [(number, *row[1:]) for number, row in enumerate(removed, start=1)]

    for tampered in (removed, renumbered):
        write_rows(path, tampered)
        assert first_broken(path) is not None
    write_rows(path, stored)
    assert first_broken(path) is None


EXACT = st.floats(-(2.0**53) + 1, 2.0**53 - 1)
COUNTS = st.integers(0, 2**53 - 1)
ARMS = st.builds(
    ArmFigures,
    revision=COUNTS,
    requests=COUNTS,
    errors=COUNTS,
    error_ratio=st.none() | st.floats(0, 1),
    failures=st.dictionaries(TEXTS, COUNTS, max_size=3),
    p50_ms=st.none() | EXACT,
    p95_ms=st.none() | EXACT,
)
FINDINGS = st.builds(
    Finding, check=TEXTS, outcome=st.sampled_from(Outcome), summary=TEXTS, reason=st.none() | TEXTS, measured=JSON,
    limit=JSON,
)  # fmt: skip
EVIDENCE = st.builds(
    Evidence,
    bake=st.sampled_from(["canary", "watch"]),
    elapsed_s=EXACT,
    looks=COUNTS,
    candidate=ARMS,
    stable=st.none() | ARMS,
    findings=st.lists(FINDINGS, max_size=2).map(tuple),
)


@pytest.fixture(scope="module")
def ledger() -> Iterator[SqliteLedger]:
    """A ledger that grows with every example: what one of them spoils, the next ones find too."""
    with TemporaryDirectory() as folder, closing(SqliteLedger(Path(folder) / "ledger.db", FakeClock())) as ledger:
        yield ledger


@settings(max_examples=25, deadline=None)
@given(evidence=EVIDENCE)
def test_evidence_reads_back_unbroken(ledger: SqliteLedger, evidence: Evidence) -> None:
    data = {"evidence": evidence.model_dump(mode="json")}

    event = ledger.append(make_draft(EventKind.ROLLOUT_ROLLED_BACK, data=data))

    assert ledger.events(since=event.sequence - 1) == (event,)
    assert ledger.first_broken() is None


@settings(max_examples=40, deadline=None)
@given(numbers=st.lists(EXACT | st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(0, 1e-4), min_size=20, max_size=60))
@example([5e-324, 2.2250738585072014e-308, 1e-07, 3.0000000000000004e-05, -0.0, 0.1 + 0.2, 1.0, 1, 2.0**53 - 1])
def test_every_number_reads_back_unbroken(ledger: SqliteLedger, numbers: list[float]) -> None:
    event = ledger.append(make_draft(data={"numbers": list(numbers)}))

    (stored,) = ledger.events(since=event.sequence - 1)
    assert stored.data["numbers"] == numbers
    assert ledger.first_broken() is None


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_an_event_of_a_later_hyperion_is_whole_until_it_is_changed(
    rows: tuple[Path, list[tuple[Any, ...]]], data: st.DataObject
) -> None:
    path, stored = rows
    columns = ("sequence", "at", "kind", "deployment", "revision", "actor", "data", "previous", "hash")
    later = dict(zip(columns, stored[-1], strict=True)) | {"kind": "brand.new"}
    fields = later | {"data": json.loads(later["data"])}
    del fields["hash"]
    later["hash"] = hash_of(fields)
    write_rows(path, [*stored[:-1], tuple(later.values())])
    assert first_broken(path) is None

    column = data.draw(st.sampled_from(["at", "kind", "actor", "data", "previous", "hash"]), "column")
    position = data.draw(st.integers(0, len(later[column]) - 1), "position")
    new = data.draw(st.characters(exclude_categories=["Cs"]).filter(lambda c: c != later[column][position]), "new")
    later[column] = later[column][:position] + new + later[column][position + 1 :]
    write_rows(path, [*stored[:-1], tuple(later.values())])

    assert first_broken(path) == len(stored)


class LedgersAgree(RuleBasedStateMachine):
    """Whatever is asked of them, the SQLite ledger and the one in memory answer alike."""

    @initialize()
    def open(self) -> None:
        self.folder = TemporaryDirectory()
        self.clock = FakeClock()
        self.real = SqliteLedger(Path(self.folder.name) / "ledger.db", self.clock)
        self.model = InMemoryLedger(self.clock)

    def both(self, method: str, *arguments: Any) -> None:
        answers = []
        for ledger in (self.real, self.model):
            try:
                answers.append(getattr(ledger, method)(*arguments))
            except HyperionError as error:
                answers.append((type(error), error.code))
        assert answers[0] == answers[1]
        self.clock.advance(0.5)

    @rule(draft=DRAFTS)
    def append(self, draft: EventDraft) -> None:
        self.both("append", draft)

    @rule(name=st.sampled_from("ab"), number=st.integers(0, 4))
    def create(self, name: str, number: int) -> None:
        self.both("create_revision", make_revision(number, name))

    @rule(name=st.sampled_from("ab"), number=st.integers(0, 4))
    def promote(self, name: str, number: int) -> None:
        self.both("promote", name, number, make_draft(EventKind.ROLLOUT_PROMOTED, name, revision=number))

    @rule(name=st.sampled_from("ab"), number=st.none() | st.integers(0, 4))
    def abort(self, name: str, number: int | None) -> None:
        self.both("restore_desired", name, number, make_draft(EventKind.ROLLOUT_ABORTED, name))

    @rule(name=st.sampled_from("ab"))
    def stop(self, name: str) -> None:
        self.both("stop", name, make_draft(EventKind.DEPLOYMENT_STOPPED, name))

    @rule()
    def reopen(self) -> None:
        self.real.close()

    @invariant()
    def alike(self) -> None:
        if not hasattr(self, "real"):
            return
        for method in ("deployments", "events", "head", "first_broken"):
            self.both(method)
        for name in "ab":
            self.both("revisions", name)

    def teardown(self) -> None:
        if hasattr(self, "real"):
            self.real.close()
            self.folder.cleanup()


TestLedgersAgree = LedgersAgree.TestCase
TestLedgersAgree.settings = settings(max_examples=15, stateful_step_count=15, deadline=None)
