"""The SQLite file under the ledger: how it is opened, its schema, and what its errors mean."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from hyperion.adapters.files.state_folder import claim_state
from hyperion.errors import HostError

SCHEMA_VERSION = 1
APPLICATION_ID = 0x48595045
"""``HYPE``; tells file(1) and us that the file is a ledger."""
BUSY_TIMEOUT_S = 15.0
"""How long a writer waits for the one before it; an append takes milliseconds."""

SCHEMA = (
    """CREATE TABLE events (
        sequence INTEGER PRIMARY KEY,
        at TEXT NOT NULL,
        kind TEXT NOT NULL,
        deployment TEXT,
        revision INTEGER,
        actor TEXT NOT NULL,
        data TEXT NOT NULL,
        previous TEXT NOT NULL,
        hash TEXT NOT NULL
    ) STRICT""",
    """CREATE TABLE revisions (
        deployment TEXT NOT NULL,
        number INTEGER NOT NULL,
        sequence INTEGER NOT NULL UNIQUE REFERENCES events (sequence),
        PRIMARY KEY (deployment, number)
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE deployments (
        name TEXT NOT NULL PRIMARY KEY,
        desired_revision INTEGER,
        active_revision INTEGER,
        last_active_revision INTEGER,
        created_at TEXT NOT NULL,
        FOREIGN KEY (name, desired_revision) REFERENCES revisions (deployment, number),
        FOREIGN KEY (name, active_revision) REFERENCES revisions (deployment, number),
        FOREIGN KEY (name, last_active_revision) REFERENCES revisions (deployment, number)
    ) STRICT, WITHOUT ROWID""",
    *(
        f"CREATE TRIGGER {table}_are_never_{verb}d BEFORE {verb.upper()} ON {table}"
        f" BEGIN SELECT RAISE(ABORT, '{table} are append-only'); END"
        for table in ("events", "revisions")
        for verb in ("update", "delete")
    ),
)
"""A revision's document is the data of its event, so the chain covers it too; the table only finds it."""


def open_ledger_file(path: Path) -> sqlite3.Connection:
    """Open the ledger, making it where it is absent; usable from any thread, by one at a time.

    Raises:
        HostError: It cannot be opened, is no ledger (``ledger.foreign``), is damaged (``ledger.corrupt``) or was
            written by a later Hyperion (``ledger.newer_schema``).
    """
    claim_state(path.parent)
    with translated(path):
        connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
        connection.row_factory = sqlite3.Row
        # A damaged text must reach the check of the chain instead of failing the read.
        connection.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")
        try:
            _prepare(connection, path)
        except BaseException:
            connection.close()
            raise
    return connection


def empty_ledger() -> sqlite3.Connection:
    """A ledger without events, in memory: what there is to read before the first write."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.row_factory = sqlite3.Row
    for statement in SCHEMA:
        connection.execute(statement)
    return connection


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    with _snapshot(connection):  # another process may be making the schema at this moment
        _check_schema(connection, path)
    _use_write_ahead_log(connection)
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    if _pragma(connection, "user_version") == SCHEMA_VERSION:
        return
    with transaction(connection):
        _check_schema(connection, path)
        if _pragma(connection, "user_version") == SCHEMA_VERSION:  # another process was faster
            return
        for statement in SCHEMA:
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def _check_schema(connection: sqlite3.Connection, path: Path) -> None:
    found = _pragma(connection, "user_version")
    application = _pragma(connection, "application_id")
    with closing(connection.execute("SELECT count(*) FROM sqlite_schema")) as rows:
        is_empty = rows.fetchone()[0] == 0
    if application != APPLICATION_ID and not (is_empty and application == 0 and found == 0):
        raise HostError(
            f"{path} is a SQLite file, but no ledger of Hyperion",
            hint="move it aside, or point $HYPERION_HOME at another folder",
            code="ledger.foreign",
        )
    if found > SCHEMA_VERSION:
        raise HostError(
            f"{path} has ledger schema {found}, written by a later Hyperion; this one knows schemas up to "
            f"{SCHEMA_VERSION}",
            hint="upgrade hyperion-deploy, or point $HYPERION_HOME at another folder",
            code="ledger.newer_schema",
            expected=SCHEMA_VERSION,
            actual=found,
        )


def _use_write_ahead_log(connection: sqlite3.Connection) -> None:
    """Switch to WAL; SQLite does not wait by itself while another process makes the same switch."""
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            with closing(connection.execute("PRAGMA journal_mode = WAL")):
                return
        except sqlite3.OperationalError as error:
            if _name_of(error).split("_")[1] != "BUSY" or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    with closing(connection.execute(f"PRAGMA {name}")) as rows:
        return int(rows.fetchone()[0])


@contextmanager
def _snapshot(connection: sqlite3.Connection) -> Iterator[None]:
    """All reads of the block see the file at one moment."""
    connection.execute("BEGIN")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """One write transaction: all of the block or nothing of it; waits for other writers."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # A full disk has already rolled it back.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def write_back(connection: sqlite3.Connection) -> None:
    """Move what the log holds into the file, as far as no reader is in the way; waits for nobody."""
    with closing(connection.execute("PRAGMA wal_checkpoint(PASSIVE)")) as rows:
        rows.fetchall()


def _name_of(error: sqlite3.Error) -> str:
    """SQLite's name of the error, such as ``SQLITE_BUSY_SNAPSHOT``."""
    return getattr(error, "sqlite_errorname", None) or "SQLITE_ERROR"


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """The one place where SQLite's errors become ours: what happened to which file, and what to do."""
    try:
        yield
    except sqlite3.Error as error:
        name = _name_of(error)
        what, hint, code = _MEANINGS.get(
            name.split("_")[1],
            ("failed", "the supervisor's log may say more; 'hyperion status' reads the ledger", "failed"),
        )
        raise HostError(f"the ledger {path} {what}: {error} ({name})", hint=hint, code=f"ledger.{code}") from error


_NOT_OURS = (
    "cannot be opened or written",
    "check that its folder exists, is writable, and belongs to the user that runs hyperion",
    "not_writable",
)
_DAMAGED = (
    "is damaged",
    "stop the supervisor, move ledger.db, ledger.db-wal and ledger.db-shm aside, and deploy again from a backup",
    "corrupt",
)
_MEANINGS: dict[str, tuple[str, str, str]] = {
    "FULL": ("has no space left on its disk", "free some space and repeat the command; nothing was recorded", "full"),
    "READONLY": _NOT_OURS,
    "CANTOPEN": _NOT_OURS,
    "PERM": _NOT_OURS,
    "AUTH": _NOT_OURS,
    "BUSY": (
        f"was locked by another process for more than {BUSY_TIMEOUT_S:g} s",
        "find what holds it with 'fuser -v ledger.db'; repeat the command once it is free",
        "busy",
    ),
    "CORRUPT": _DAMAGED,
    "NOTADB": _DAMAGED,
    "IOERR": (
        "could not be read or written by the disk",
        "look at 'df' and the kernel's log (dmesg) for the disk's errors; nothing was recorded",
        "io",
    ),
}
