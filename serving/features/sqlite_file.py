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
KEPT = 4  # connections to read with that wait for their next use
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
    """A connection that writes, and one for each reader of the moment: no reader waits, for nobody.

    The event loop reads a few rows itself, while a thread reads the thousands of a batch.
    """

    def __init__(self, path: Path) -> None:
        """Open `path`, and make what is missing.

        Raises:
            StoreError: the file cannot be used.
        """
        self._path = path
        self._writes = threading.Lock()
        self._idle, self._open, self._handing = list[sqlite3.Connection](), True, threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = _connect(path)
            with self.writing() as db:
                for statement in SCHEMA.split(";"):
                    db.execute(statement)
        except (OSError, sqlite3.Error) as error:
            raise self._failed(error) from None

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """One consistent view of the file, at once."""
        try:
            db = self._reader()
            try:
                db.execute("BEGIN")
                try:
                    yield db
                finally:
                    db.execute("ROLLBACK")
            finally:
                self._give_back(db)
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
        return db is not self._writer

    def close(self) -> None:
        """Let go of connections; one that is still read with goes when that is done."""
        with self._handing:
            self._open, idle = False, self._idle
            self._idle = []
        for db in idle:
            db.close()
        with self._writes:
            self._writer.close()

    def _reader(self) -> sqlite3.Connection:
        """A connection that nobody uses: the one that was used last, whose pages and statements are warm."""
        with self._handing:  # held for no longer than this
            if not self._open:
                raise sqlite3.ProgrammingError("it was closed")
            if self._idle:
                return self._idle.pop()
        return _connect(self._path)

    def _give_back(self, db: sqlite3.Connection) -> None:
        with self._handing:
            if self._open and len(self._idle) < KEPT and not db.in_transaction:
                self._idle.append(db)
                return
        db.close()

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
