"""One SQLite file that several workers share: its schema, its connections, its transactions.

A commit is on the disk when it returns (`synchronous=FULL`): an acknowledged event survives a power cut.
"""

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from serving.features.store import StoreError

BUSY_S = 10.0  # a writer waits so long for another; a generation is written in short transactions
SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS held (id TEXT PRIMARY KEY, held TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS published (name TEXT PRIMARY KEY, published TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS log (seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, stream TEXT NOT NULL,
    at INTEGER NOT NULL, facts BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS streams (stream TEXT PRIMARY KEY, accepted INTEGER NOT NULL DEFAULT 0,
    duplicates INTEGER NOT NULL DEFAULT 0, conflicting INTEGER NOT NULL DEFAULT 0,
    late INTEGER NOT NULL DEFAULT 0, covered INTEGER NOT NULL DEFAULT 0,
    newest INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS records (name TEXT NOT NULL, generation INTEGER NOT NULL, key TEXT NOT NULL,
    facts BLOB NOT NULL, PRIMARY KEY (name, generation, key)) WITHOUT ROWID;
INSERT OR IGNORE INTO meta VALUES ('epoch', 1), ('generation', 0), ('pruned', -4611686018427387904);
"""


class SqliteFile:
    """Two connections: one reads while the other writes. Each is used by one thread at a time."""

    def __init__(self, path: Path) -> None:
        """Open `path`, and make what is missing.

        Raises:
            StoreError: the file cannot be used.
        """
        self._path = path
        self._reads, self._writes = threading.Lock(), threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._reader, self._writer = _connect(path), _connect(path)
            with self.writing() as db:
                for statement in SCHEMA.split(";"):
                    db.execute(statement)
        except (OSError, sqlite3.Error) as error:
            raise self._failed(error) from None

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """One consistent view of the file."""
        with self._reads:
            try:
                self._reader.execute("BEGIN")
                try:
                    yield self._reader
                finally:
                    self._reader.execute("ROLLBACK")
            except sqlite3.Error as error:
                raise self._failed(error) from None

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction: kept as a whole, or not at all."""
        with self._writes:
            try:
                self._writer.execute("BEGIN IMMEDIATE")
                try:
                    yield self._writer
                except BaseException:
                    self._writer.execute("ROLLBACK")
                    raise
                self._writer.execute("COMMIT")
            except sqlite3.Error as error:
                raise self._failed(error) from None

    def is_reader(self, db: sqlite3.Connection) -> bool:
        """Whether what `db` sees was committed: what a writer sees may yet be rolled back."""
        return db is self._reader

    def close(self) -> None:
        """Let go of connections."""
        with self._reads, self._writes:
            self._reader.close()
            self._writer.close()

    def _failed(self, error: Exception) -> StoreError:
        return StoreError(
            f"the online store {self._path} fails ({error})",
            "a file on a local disk that this user may write",
            "See its folder, or set FLIGHTLINE_ONLINE_STORE",
        )


def _connect(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
    deadline = time.monotonic() + BUSY_S
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL")
            break
        except sqlite3.OperationalError as error:
            # Of several who make a new file WAL at once, all but one are told that it is busy, unwaited.
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                db.close()
                raise
            threading.Event().wait(0.01)
    db.execute("PRAGMA synchronous = FULL")
    db.execute("PRAGMA mmap_size = 268435456")  # bytes: reads without a system call each
    return db
