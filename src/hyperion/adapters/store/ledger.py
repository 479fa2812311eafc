"""The ledger in SQLite: events in a chain of hashes, the revisions among them, and one pointer per deployment."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from hyperion.adapters.store.ledger_file import empty_ledger, open_ledger_file, transaction, translated, write_back
from hyperion.domain.canonical import canonical
from hyperion.domain.deployment import Deployment, Revision
from hyperion.domain.document import JsonValue
from hyperion.domain.event import START, Event, EventDraft, EventKind, LedgerHead, hash_of
from hyperion.errors import ConflictError, HostError, NotFoundError
from hyperion.ports import Clock

_INSERT_EVENT = (
    "INSERT INTO events VALUES (:sequence, :at, :kind, :deployment, :revision, :actor, :data, :previous, :hash)"
)
_SELECT_EVENTS = (
    "SELECT * FROM events WHERE sequence > :since AND (:deployment IS NULL OR deployment = :deployment)"
    " AND (:kinds IS NULL OR kind IN (SELECT value FROM json_each(:kinds))) ORDER BY sequence"
)
_SELECT_REVISIONS = "SELECT events.* FROM revisions JOIN events USING (sequence) WHERE revisions.deployment = ?"
TIDY_AFTER = 32
"""Commits after which the log is written back when nobody waits: a fraction of what SQLite itself would let it grow."""
_Row = dict[str, Any]


class SqliteLedger:
    """The ledger of one host; implements ports.Ledger.

    Each method is one transaction, on disk before it returns. Several processes may write: they take turns.
    Readers never wait for another process. The first write makes the file. Threads may share a ledger.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._commits = 0
        """Since the log was last written back."""

    def append(self, draft: EventDraft) -> Event:
        with self._writing() as connection:
            return self._append(connection, draft)

    def create_revision(self, revision: Revision, *following: EventDraft, active: bool = False) -> Event:
        with self._writing() as connection:
            latest = _latest_number(connection, revision.deployment)
            if revision.number != latest + 1:
                raise ConflictError(
                    f"revision {revision.number} of {revision.deployment!r} is not next: the latest is {latest}",
                    hint="another deploy was faster; repeat the command",
                    code="revision.not_next",
                    expected=latest + 1,
                    actual=revision.number,
                )
            event = self._append(connection, revision.created_event())
            connection.execute(
                "INSERT INTO revisions (deployment, number, sequence) VALUES (?, ?, ?)",
                (revision.deployment, revision.number, event.sequence),
            )
            connection.execute(
                "INSERT INTO deployments (name, desired_revision, created_at) VALUES (?, ?, ?)"
                " ON CONFLICT (name) DO UPDATE SET desired_revision = excluded.desired_revision",
                (revision.deployment, revision.number, event.model_dump(mode="json", include={"at"})["at"]),
            )
            if active:
                _activate(connection, revision.deployment, revision.number)
            for draft in following:
                self._append(connection, draft)
            return event

    def promote(self, deployment: str, revision: int, draft: EventDraft) -> Event:
        with self._writing() as connection:
            self._revision_row(connection, deployment, revision)
            _activate(connection, deployment, revision)
            return self._append(connection, draft)

    def restore_desired(self, deployment: str, revision: int | None, draft: EventDraft) -> Event:
        with self._writing() as connection:
            self._require_deployment(connection, deployment)
            if revision is not None:
                self._revision_row(connection, deployment, revision)
            connection.execute(
                "UPDATE deployments SET desired_revision = ?1, active_revision = ?1 WHERE name = ?2",
                (revision, deployment),
            )
            if revision is not None:
                _activate(connection, deployment, revision)
            return self._append(connection, draft)

    def stop(self, deployment: str, draft: EventDraft) -> Event:
        with self._writing() as connection:
            self._require_deployment(connection, deployment)
            connection.execute(
                "UPDATE deployments SET desired_revision = NULL, active_revision = NULL WHERE name = ?", (deployment,)
            )
            return self._append(connection, draft)

    def deployments(self) -> tuple[Deployment, ...]:
        with self._reading() as connection:
            rows = connection.execute("SELECT * FROM deployments ORDER BY name").fetchall()
            return tuple(_deployment(row) for row in rows)

    def deployment(self, name: str) -> Deployment | None:
        with self._reading() as connection:
            row = connection.execute("SELECT * FROM deployments WHERE name = ?", (name,)).fetchone()
            return None if row is None else _deployment(row)

    def latest_number(self, deployment: str) -> int:
        with self._reading() as connection:
            return _latest_number(connection, deployment)

    def revision(self, deployment: str, number: int) -> Revision:
        with self._reading() as connection:
            return _revision(self._revision_row(connection, deployment, number))

    def revisions(self, deployment: str) -> tuple[Revision, ...]:
        with self._reading() as connection:
            rows = connection.execute(_SELECT_REVISIONS + " ORDER BY number", (deployment,)).fetchall()
            return tuple(_revision(dict(row)) for row in rows)

    def events(
        self, deployment: str | None = None, kinds: Iterable[EventKind] | None = None, since: int = 0
    ) -> tuple[Event, ...]:
        wanted = None if kinds is None else json.dumps([kind.value for kind in kinds])
        values = {"since": since, "deployment": deployment, "kinds": wanted}
        with self._reading() as connection:
            return tuple(_event(dict(row)) for row in connection.execute(_SELECT_EVENTS, values).fetchall())

    def head(self) -> LedgerHead:
        with self._reading() as connection:
            return self._head(connection)

    def first_broken(self) -> int | None:
        with self._reading() as connection:
            previous = START
            for row in map(dict, connection.execute("SELECT * FROM events ORDER BY sequence")):
                if not _follows(row, previous):
                    return int(row["sequence"])
                previous = LedgerHead(sequence=row["sequence"], hash=row["hash"])
            return None

    def tidy(self) -> None:
        """Write the log back to the file before SQLite does it by itself, within a commit that somebody waits for."""
        with self._lock:
            if self._connection is not None and self._commits >= TIDY_AFTER:
                self._commits = 0
                with translated(self._path):
                    write_back(self._connection)

    def close(self) -> None:
        """Close the file; the next call opens it again."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """The connection to read from: an empty ledger where there is none, so that looking leaves no trace."""
        with self._lock:
            if self._connection is None and not self._path.exists():
                with closing(empty_ledger()) as empty:
                    yield empty
            else:
                with self._opened() as connection:
                    yield connection

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            if self._connection is None:
                self._connection = open_ledger_file(self._path)
            try:
                with translated(self._path):
                    yield self._connection
            except ValidationError as error:
                raise self._corrupt(f"{error.title}: {error.errors()[0]['msg']}") from error
            except (json.JSONDecodeError, RecursionError) as error:
                raise self._corrupt(f"JSON: {error}") from error

    def _corrupt(self, expected: str) -> HostError:
        return HostError(
            f"the ledger {self._path} holds a row that is no {expected}",
            hint="'hyperion log verify' finds out whether something else than hyperion changed it; where the chain is "
            "whole, a later Hyperion wrote it: upgrade hyperion-deploy",
            code="ledger.corrupt",
        )

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._opened() as connection, transaction(connection):
            yield connection
            self._commits += 1

    def _append(self, connection: sqlite3.Connection, draft: EventDraft) -> Event:
        event, fields = draft.sealed(self._head(connection), self._clock.now())
        connection.execute(_INSERT_EVENT, _row(fields))
        return event

    @staticmethod
    def _head(connection: sqlite3.Connection) -> LedgerHead:
        row = connection.execute("SELECT sequence, hash FROM events ORDER BY sequence DESC LIMIT 1").fetchone()
        return START if row is None else LedgerHead(**dict(row))

    @staticmethod
    def _revision_row(connection: sqlite3.Connection, deployment: str, number: int) -> _Row:
        row = connection.execute(_SELECT_REVISIONS + " AND number = ?", (deployment, number)).fetchone()
        if row is None:
            raise NotFoundError(
                f"deployment {deployment!r} has no revision {number}",
                hint=f"'hyperion history {deployment}' lists its revisions",
                code="revision.not_found",
            )
        return dict(row)

    @staticmethod
    def _require_deployment(connection: sqlite3.Connection, name: str) -> None:
        if connection.execute("SELECT 1 FROM deployments WHERE name = ?", (name,)).fetchone() is None:
            raise NotFoundError(
                f"there is no deployment {name!r} on this host",
                hint="'hyperion status' lists the deployments",
                code="deployment.not_found",
            )


def _event(row: _Row) -> Event:
    return Event.model_validate_json(json.dumps(row | {"data": json.loads(row["data"])}))


def _row(fields: dict[str, JsonValue]) -> _Row:
    """The columns of an event with these fields; its data is canonical JSON, so that one event has one row."""
    return fields | {"data": canonical(fields["data"]).decode()}


def _follows(row: _Row, head: LedgerHead) -> bool:
    """Whether a row stands right after ``head`` as it was written, be its kind known here or not."""
    if (row["sequence"], row["previous"]) != (head.sequence + 1, head.hash):
        return False
    try:
        data = json.loads(row["data"])
        fields = {column: value for column, value in row.items() if column != "hash"} | {"data": data}
        return bool(row["hash"] == hash_of(fields)) and canonical(data).decode() == row["data"]
    except (ValueError, TypeError, RecursionError):  # not JSON, not UTF-8, no text, or deeper than any event
        return False


def _latest_number(connection: sqlite3.Connection, deployment: str) -> int:
    row = connection.execute(
        "SELECT number FROM revisions WHERE deployment = ? ORDER BY number DESC LIMIT 1", (deployment,)
    ).fetchone()
    return 0 if row is None else int(row["number"])


def _activate(connection: sqlite3.Connection, deployment: str, revision: int) -> None:
    connection.execute(
        "UPDATE deployments SET active_revision = ?1, last_active_revision = ?1 WHERE name = ?2",
        (revision, deployment),
    )


def _deployment(row: sqlite3.Row) -> Deployment:
    return Deployment.model_validate_json(json.dumps(dict(row)))


def _revision(row: _Row) -> Revision:
    return Revision.model_validate_json(row["data"])
