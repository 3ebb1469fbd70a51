# ruff: noqa: S608, ISC004 - the names of tables and columns are hexadecimal ids and numbers of ours
"""The embedded store: one SQLite file per host, in WAL mode, shared by all workers.

A commit is on the disk when it returns (`synchronous=FULL`): an acknowledged event survives a power cut.
"""

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from serving.features.facts import Fact
from serving.features.groups import Group, Latest
from serving.features.store import (
    NEVER,
    Ask,
    Base,
    Counted,
    Event,
    Found,
    Held,
    Published,
    Read,
    Row,
    State,
    StoreError,
    covered,
    larger,
    placed,
    superseded,
)

BUSY_S = 10.0  # a writer waits so long for another; a generation is written in short transactions
CHUNK = 5_000  # base rows a transaction
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
COUNTS = ("accepted", "duplicates", "conflicting", "late", "covered")


class SqliteStore:
    """The interface of `serving.features.store.Store` over one file."""

    quick = True

    def __init__(self, path: Path) -> None:
        """Open `path`, and make what is missing.

        Raises:
            StoreError: the file cannot be used.
        """
        self._path = path
        self._reads, self._writes = threading.Lock(), threading.Lock()
        self._state: State | None = None
        self._sums: dict[tuple[str, int], str] = {}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._reader, self._writer = self._connect(), self._connect()
            with self._writing() as db:
                for statement in SCHEMA.split(";"):
                    db.execute(statement)
        except (OSError, sqlite3.Error) as error:
            raise self._failed(error) from None

    def state(self) -> State:
        """What there is."""
        with self._reading() as db:
            return self._current(db)

    def register(self, groups: Sequence[Group]) -> None:
        """Keep `groups` from now on, and from the log what happened before."""
        known = self.state().groups
        if all(group.id in known for group in groups):
            return
        with self._writing() as db:
            state = self._current(db)
            new = {group.id: group for group in groups if group.id not in state.groups}
            pruned = _meta(db, "pruned")
            for name, group in new.items():
                for statement in _tables(name, group):
                    db.execute(statement)
                _hold(db, name, Held(group, ready=True, since=pruned))
            self._changed(db)
            fresh = self._current(db)
            only = State(fresh.epoch, {name: fresh.groups[name] for name in new}, {})
            for seq, event in _logged(db, {group.stream for group in new.values()}):
                (rows,) = placed(only, [event])
                _insert(db, rows, seq, event.at)

    def add(self, events: Sequence[Event]) -> Counted:
        """Log events and put them where they belong: all of them or none."""
        placed(self.state(), events)  # what cannot be meant is refused before anybody is kept waiting
        counted = Counted()
        with self._writing() as db:
            state = self._current(db)
            newest = dict(db.execute("SELECT stream, newest FROM streams"))
            for event, rows in zip(events, placed(state, events), strict=True):
                one = Counted()
                facts = msgspec.json.encode(event.facts, order="sorted")
                done = db.execute(
                    "INSERT OR IGNORE INTO log (id, stream, at, facts) VALUES (?, ?, ?, ?)",
                    (event.id, event.stream, event.at, facts),
                )
                if done.rowcount:
                    _insert(db, rows, int(done.lastrowid or 0), event.at)
                    one.accepted = 1
                    one.late = int(event.at < newest.get(event.stream, NEVER))
                    one.covered = int(covered(state, event))
                    newest[event.stream] = max(event.at, newest.get(event.stream, NEVER))
                else:
                    kept = db.execute("SELECT stream, at, facts FROM log WHERE id = ?", (event.id,))
                    one.duplicates = 1
                    one.conflicting = int(kept.fetchone() != (event.stream, event.at, facts))
                _count(db, event.stream, one, newest.get(event.stream, event.at))
                for name in COUNTS:
                    setattr(counted, name, getattr(counted, name) + getattr(one, name))
        return counted

    def read(
        self, epoch: int, asks: Sequence[Ask], records: Sequence[tuple[str, int, str]], streams: Iterable[str]
    ) -> Read | None:
        """Answers from the state `epoch`; None where that is no longer the state."""
        with self._reading() as db:
            if _meta(db, "epoch") != epoch:
                return None
            found = [self._found(db, ask) for ask in asks]
            looked_up: list[dict[str, Fact] | None] = []
            for name, generation, key in records:
                row = db.execute(
                    "SELECT facts FROM records WHERE name = ? AND generation = ? AND key = ?",
                    (name, generation, key),
                ).fetchone()
                looked_up.append(None if row is None else msgspec.json.decode(row[0]))
            newest: dict[str, int] = {}
            for stream in streams:
                row = db.execute("SELECT newest FROM streams WHERE stream = ?", (stream,)).fetchone()
                if row is not None:
                    newest[stream] = row[0]
            return Read(found, looked_up, newest)

    def log(self) -> Iterator[Event]:
        """Every event that is kept, by moment and id."""
        with self._reading() as db:
            rows = db.execute("SELECT id, stream, at, facts FROM log ORDER BY at, id").fetchall()
        for name, stream, at, facts in rows:
            yield Event(name, stream, at, msgspec.json.decode(facts))

    def rebuild(self) -> int:
        """Make the recent anew out of the log; how many events that were."""
        with self._writing() as db:
            state, count = self._current(db), 0
            for name in state.groups:
                db.execute(f"DELETE FROM recent_{name}")
            for seq, event in _logged(db, set(state.streams)):
                (rows,) = placed(state, [event])
                _insert(db, rows, seq, event.at)
                count += 1
        return count

    def begin(self) -> int:
        """The number of a new generation."""
        with self._writing() as db:
            db.execute("UPDATE meta SET value = value + 1 WHERE name = 'generation'")
            return _meta(db, "generation")

    def put_base(self, generation: int, group: str, rows: Iterable[tuple[str, Base]]) -> None:
        """Write base rows (key, totals) of a generation; nobody reads them yet."""
        held = self.state().groups[group].group
        marks = _marks(3 + held.width + len(held.latest))
        values = ((generation, key, base.at, *base.totals, *base.latest) for key, base in rows)
        self._put(f"INSERT OR REPLACE INTO base_{group} VALUES ({marks})", values)

    def put_records(self, generation: int, table: str, rows: Iterable[tuple[str, dict[str, Fact]]]) -> None:
        """Write records (key, values) of a generation; nobody reads them yet."""
        values = ((table, generation, key, msgspec.json.encode(facts)) for key, facts in rows)
        self._put("INSERT OR REPLACE INTO records VALUES (?, ?, ?, ?)", values)

    def switch(self, generation: int, held: Mapping[str, Held], records: Mapping[str, Published]) -> None:
        """Let `held` and `records` be what is read, all at once; then remove what no look-up reaches."""
        with self._writing() as db:
            superseded(self._current(db), generation, held, records)
            for name, item in held.items():
                _hold(db, name, item)
            for name, published in records.items():
                text = msgspec.json.encode(published).decode()
                db.execute("INSERT OR REPLACE INTO published VALUES (?, ?)", (name, text))
            self._changed(db)
        self._sweep()

    def prune_log(self, until: int) -> int:
        """Remove logged events up to a moment that every base covers; how many those were."""
        with self._writing() as db:
            until = min([until, *(held.as_of for held in self._current(db).groups.values())])
            db.execute("UPDATE meta SET value = max(value, ?) WHERE name = 'pruned'", (until,))
            return int(db.execute("DELETE FROM log WHERE at <= ?", (until,)).rowcount)

    def counts(self) -> dict[str, dict[str, int]]:
        """By stream: accepted, duplicates, conflicting, late, covered, and `newest` in microseconds."""
        with self._reading() as db:
            names = (*COUNTS, "newest")
            rows = db.execute(f"SELECT stream, {', '.join(names)} FROM streams ORDER BY stream")
            return {stream: dict(zip(names, numbers, strict=True)) for stream, *numbers in rows}

    def close(self) -> None:
        """Let go of connections."""
        with self._reads, self._writes:
            self._reader.close()
            self._writer.close()

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA mmap_size = 268435456")  # bytes: reads without a system call each
        return db

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
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
    def _writing(self) -> Iterator[sqlite3.Connection]:
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

    def _failed(self, error: Exception) -> StoreError:
        return StoreError(
            f"the online store {self._path} fails ({error})",
            "a file on a local disk that this user may write",
            "See its folder, or set FLIGHTLINE_ONLINE_STORE",
        )

    def _current(self, db: sqlite3.Connection) -> State:
        """The state; read again only where its epoch is another one."""
        epoch, kept = _meta(db, "epoch"), self._state
        if kept is None or kept.epoch != epoch:
            rows = db.execute("SELECT id, held FROM held").fetchall()
            groups = {name: msgspec.json.decode(text, type=Held) for name, text in rows}
            tables = db.execute("SELECT name, published FROM published").fetchall()
            records = {name: msgspec.json.decode(text, type=Published) for name, text in tables}
            kept = State(epoch, groups, records)
            if db is self._reader:
                self._state = kept  # what a writer sees may yet be rolled back
        return kept

    def _changed(self, db: sqlite3.Connection) -> None:
        db.execute("UPDATE meta SET value = value + 1 WHERE name = 'epoch'")

    def _put(self, statement: str, rows: Iterator[tuple[Any, ...]]) -> None:
        """Many rows in short transactions, so that events find their turn in between."""
        while chunk := list(islice(rows, CHUNK)):
            with self._writing() as db:
                db.executemany(statement, chunk)

    def _sweep(self) -> None:
        """Remove generations before the current ones, and recent events that a base covers."""
        state = self.state()
        for name, held in state.groups.items():
            with self._writing() as db:
                db.execute(f"DELETE FROM base_{name} WHERE generation < ?", (held.generation,))
                db.execute(f"DELETE FROM recent_{name} WHERE at <= ?", (held.as_of,))
        with self._writing() as db:
            for name, published in state.records.items():
                db.execute(
                    "DELETE FROM records WHERE name = ? AND generation < ?", (name, published.generation)
                )

    def _found(self, db: sqlite3.Connection, ask: Ask) -> Found:
        sums, newest = [], None
        if ask.starts:
            for start in ask.starts:
                row = db.execute(self._sum(ask.group, ask.width), (ask.key, start, ask.until)).fetchone()
                sums.append(tuple(row))
        if ask.starts and ask.latest:
            rows = db.execute(
                f"SELECT * FROM recent_{ask.group} WHERE key = ?1 AND at = (SELECT max(at) FROM"
                f" recent_{ask.group} WHERE key = ?1 AND at > ?2 AND at <= ?3)",
                (ask.key, ask.starts[0], ask.until),
            )
            for _, at, _, *values in rows:
                latest: Latest = tuple(values[ask.width :])
                newest = (at, latest if newest is None else larger(newest[1], latest))
        points: list[Base | None] = []
        for point in ask.points:
            row = db.execute(
                f"SELECT * FROM base_{ask.group} WHERE generation = ? AND key = ? AND at <= ?"
                " ORDER BY at DESC LIMIT 1",
                (ask.generation, ask.key, point),
            ).fetchone()
            cut = 3 + ask.width
            points.append(None if row is None else Base(row[2], row[3:cut], row[cut:]))
        return Found(sums, newest, points)

    def _sum(self, group: str, width: int) -> str:
        found = self._sums.get((group, width))
        if found is None:
            columns = ", ".join(f"coalesce(sum(t{number}), 0)" for number in range(width))
            found = f"SELECT {columns} FROM recent_{group} WHERE key = ? AND at > ? AND at <= ?"
            self._sums[group, width] = found
        return found


def _tables(name: str, group: Group) -> tuple[str, str]:
    columns = "".join(f", t{number} INTEGER NOT NULL" for number in range(group.width))
    columns += "".join(f", l{number} REAL" for number in range(len(group.latest)))
    return (
        f"CREATE TABLE IF NOT EXISTS recent_{name} (key TEXT NOT NULL, at INTEGER NOT NULL,"
        f" event INTEGER NOT NULL{columns}, PRIMARY KEY (key, at, event)) WITHOUT ROWID",
        f"CREATE TABLE IF NOT EXISTS base_{name} (generation INTEGER NOT NULL, key TEXT NOT NULL,"
        f" at INTEGER NOT NULL{columns}, PRIMARY KEY (generation, key, at)) WITHOUT ROWID",
    )


def _insert(db: sqlite3.Connection, rows: Sequence[Row], event: int, at: int) -> None:
    for row in rows:
        marks = _marks(3 + len(row.totals) + len(row.latest))
        values = (row.key, at, event, *row.totals, *row.latest)
        db.execute(f"INSERT OR REPLACE INTO recent_{row.group} VALUES ({marks})", values)


def _hold(db: sqlite3.Connection, name: str, held: Held) -> None:
    db.execute("INSERT OR REPLACE INTO held VALUES (?, ?)", (name, msgspec.json.encode(held).decode()))


def _count(db: sqlite3.Connection, stream: str, one: Counted, newest: int) -> None:
    added = ", ".join(f"{name} = {name} + excluded.{name}" for name in COUNTS)
    db.execute(
        f"INSERT INTO streams (stream, {', '.join(COUNTS)}, newest) VALUES ({_marks(2 + len(COUNTS))})"
        f" ON CONFLICT (stream) DO UPDATE SET {added}, newest = excluded.newest",
        (stream, *(getattr(one, name) for name in COUNTS), newest),
    )


def _logged(db: sqlite3.Connection, streams: set[str]) -> Iterator[tuple[int, Event]]:
    """Number and event of what the log has of `streams`."""
    marks = _marks(len(streams))
    cursor = db.execute(f"SELECT seq, id, stream, at, facts FROM log WHERE stream IN ({marks})", (*streams,))
    for seq, name, stream, at, facts in cursor:
        yield seq, Event(name, stream, at, msgspec.json.decode(facts))


def _meta(db: sqlite3.Connection, name: str) -> int:
    return int(db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()[0])


def _marks(count: int) -> str:
    return ", ".join("?" * count)
