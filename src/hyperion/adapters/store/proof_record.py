"""Which files were proven to hold what: ``proofs.db`` in the state folder, in SQLite.

Nothing here may fail a command: a record that cannot be opened, read or written is an empty one, and a damaged one is
begun anew. It is believed only where nobody but this user may write it. Connections last for one question, and the
journal is SQLite's oldest kind, so that a state folder on a read-only disk can still be read.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from hyperion.adapters.files.state_folder import claim_state
from hyperion.errors import HostError
from hyperion.format.file_state import FileState

RECORD_FILE = "proofs.db"
MAX_PROOFS = 100_000
"""More than a host's packages have files; the oldest are dropped, and cost a reading where they are wanted again."""
BUSY_TIMEOUT_S = 1.0
"""To digest a file again is better than to wait long for another process that remembers."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS proofs (
    file TEXT NOT NULL,
    digest TEXT NOT NULL,
    state TEXT NOT NULL,
    proven_at INTEGER NOT NULL,
    PRIMARY KEY (file, digest)
) STRICT, WITHOUT ROWID
"""
_DAMAGED = {"SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_ERROR"}
"""SQLITE_ERROR: a database without our table."""
_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


class SqliteProofRecord:
    """Implements ports.ProofRecord.

    Args:
        root: The state folder; it is made when the first proof is remembered.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._path = root / RECORD_FILE

    def recall(self, files: Iterable[tuple[FileState, str]]) -> dict[tuple[FileState, str], datetime]:
        """When files were last found to hold digests; see ports.ProofRecord."""
        found: dict[tuple[FileState, str], datetime] = {}
        with self._no_failure():
            if not self._path.exists() or not self._is_own():
                return found
            with closing(self._connect("ro")) as connection:
                for state, digest in files:
                    row = connection.execute(
                        "SELECT state, proven_at FROM proofs WHERE file = ? AND digest = ?", (_file(state), digest)
                    ).fetchone()
                    if row is not None and row[0] == _stamps(state):
                        found[state, digest] = datetime.fromtimestamp(row[1], UTC)
        return found

    def remember(self, files: Iterable[tuple[FileState, str]], began_at: datetime) -> None:
        """Keep that these files hold these digests; see ports.ProofRecord."""
        moment_s = int(began_at.timestamp())
        rows = [
            (_file(state), digest, _stamps(state), moment_s)
            for state, digest in files
            if state.is_settled(moment_s * 1_000_000_000)
        ]
        if not rows:
            return
        with self._no_failure():
            claim_state(self._root)
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
            if not self._is_own():
                return
            with closing(self._connect("rw")) as connection, connection:
                connection.execute("BEGIN IMMEDIATE")
                connection.execute(_SCHEMA)
                connection.executemany("INSERT OR REPLACE INTO proofs VALUES (?, ?, ?, ?)", rows)
                connection.execute(
                    "DELETE FROM proofs WHERE (file, digest) IN (SELECT file, digest FROM proofs"
                    " ORDER BY proven_at LIMIT max(0, (SELECT count(*) FROM proofs) - ?))",
                    (MAX_PROOFS,),
                )

    def _connect(self, mode: str) -> sqlite3.Connection:
        return sqlite3.connect(f"{self._path.absolute().as_uri()}?mode={mode}", timeout=BUSY_TIMEOUT_S, uri=True)

    def _is_own(self) -> bool:
        found = self._path.stat()
        return found.st_uid == os.geteuid() and not found.st_mode & _WRITABLE_BY_OTHERS

    @contextmanager
    def _no_failure(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorname", "") in _DAMAGED or isinstance(error, sqlite3.DataError):
                self._begin_anew()
        except (HostError, OSError, ValueError, OverflowError):
            pass  # no state folder to write, another user's, or a row that holds nonsense

    def _begin_anew(self) -> None:
        """Remove a file that is no record; another process that has it open keeps its own."""
        try:
            self._path.unlink(missing_ok=True)
            self._path.with_name(f"{RECORD_FILE}-journal").unlink(missing_ok=True)
        except OSError:
            pass  # then it stays useless, which is no worse


def _file(state: FileState) -> str:
    return f"{state.device}:{state.inode}"


def _stamps(state: FileState) -> str:
    return f"{state.size_bytes}:{state.mtime_ns}:{state.ctime_ns}"
