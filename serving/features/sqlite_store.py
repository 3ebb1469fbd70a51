# ruff: noqa: S608 - the names of tables are hexadecimal ids of ours
"""The embedded store: one SQLite file per host, in WAL mode, shared by all workers."""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from serving.features import sqlite_rows as sql
from serving.features.facts import Fact
from serving.features.groups import Group
from serving.features.sqlite_file import SqliteFile
from serving.features.store import (
    COUNTS,
    NEVER,
    Ask,
    Base,
    Counted,
    Event,
    Held,
    Published,
    Read,
    State,
    covered,
    placed,
    state_of,
    superseded,
)

CHUNK = 5_000  # base rows a transaction


class SqliteStore:
    """The interface of `serving.features.store.Store` over one file."""

    quick = True

    def __init__(self, path: Path) -> None:
        """Open `path`, and make what is missing.

        Raises:
            StoreError: the file cannot be used.
        """
        self._file = SqliteFile(path)
        self._state: State | None = None

    def state(self) -> State:
        """What there is."""
        with self._file.reading() as db:
            return self._current(db)

    def register(self, groups: Sequence[Group]) -> None:
        """Keep `groups` from now on, and from the log what happened before."""
        known = self.state().groups
        if all(group.id in known for group in groups):
            return
        with self._file.writing() as db:
            state = self._current(db)
            new = {group.id: group for group in groups if group.id not in state.groups}
            pruned = sql.meta(db, "pruned")
            for name, group in new.items():
                for statement in sql.tables(name, group):
                    db.execute(statement)
                sql.hold(db, name, Held(group, ready=True, since=pruned))
            self._changed(db)
            fresh = self._current(db)
            only = State(fresh.epoch, {name: fresh.groups[name] for name in new}, {})
            for seq, event in sql.logged(db, {group.stream for group in new.values()}):
                (rows,) = placed(only, [event])
                sql.insert(db, rows, seq, event.at)

    def add(self, events: Sequence[Event]) -> Counted:
        """Log events and put them where they belong: all of them or none."""
        placed(self.state(), events)  # what cannot be meant is refused before anybody is kept waiting
        counted = Counted()
        with self._file.writing() as db:
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
                    sql.insert(db, rows, int(done.lastrowid or 0), event.at)
                    one.accepted = 1
                    one.late = int(event.at < newest.get(event.stream, NEVER))
                    one.covered = int(covered(state, event))
                    newest[event.stream] = max(event.at, newest.get(event.stream, NEVER))
                else:
                    kept = db.execute("SELECT stream, at, facts FROM log WHERE id = ?", (event.id,))
                    one.duplicates = 1
                    one.conflicting = int(kept.fetchone() != (event.stream, event.at, facts))
                sql.count(db, event.stream, one, newest.get(event.stream, event.at))
                for name in COUNTS:
                    setattr(counted, name, getattr(counted, name) + getattr(one, name))
        return counted

    def read(
        self, epoch: int, asks: Sequence[Ask], records: Sequence[tuple[str, int, str]], streams: Iterable[str]
    ) -> Read | None:
        """Answers from the state `epoch`; None where that is no longer the state."""
        with self._file.reading() as db:
            if sql.meta(db, "epoch") != epoch:
                return None
            found = [sql.found(db, ask) for ask in asks]
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
        with self._file.reading() as db:
            rows = db.execute("SELECT id, stream, at, facts FROM log ORDER BY at, id").fetchall()
        for name, stream, at, facts in rows:
            yield Event(name, stream, at, msgspec.json.decode(facts))

    def rebuild(self) -> int:
        """Make the recent anew out of the log; how many events that were."""
        with self._file.writing() as db:
            state, count = self._current(db), 0
            for name in state.groups:
                db.execute(f"DELETE FROM recent_{name}")
            for seq, event in sql.logged(db, set(state.streams)):
                (rows,) = placed(state, [event])
                sql.insert(db, rows, seq, event.at)
                count += 1
        return count

    def begin(self) -> int:
        """The number of a new generation."""
        with self._file.writing() as db:
            db.execute("UPDATE meta SET value = value + 1 WHERE name = 'generation'")
            return sql.meta(db, "generation")

    def put_base(self, generation: int, group: str, rows: Iterable[tuple[str, Base]]) -> None:
        """Write base rows (key, totals) of a generation; nobody reads them yet."""
        held = self.state().groups[group].group
        places = sql.marks(3 + held.width + len(held.latest))
        values = ((generation, key, base.at, *base.totals, *base.latest) for key, base in rows)
        self._put(f"INSERT OR REPLACE INTO base_{group} VALUES ({places})", values)

    def put_records(self, generation: int, table: str, rows: Iterable[tuple[str, dict[str, Fact]]]) -> None:
        """Write records (key, values) of a generation; nobody reads them yet."""
        values = ((table, generation, key, msgspec.json.encode(facts)) for key, facts in rows)
        self._put("INSERT OR REPLACE INTO records VALUES (?, ?, ?, ?)", values)

    def switch(self, generation: int, held: Mapping[str, Held], records: Mapping[str, Published]) -> None:
        """Let `held` and `records` be what is read, all at once; then remove what no look-up reaches."""
        with self._file.writing() as db:
            superseded(self._current(db), generation, held, records)
            for name, item in held.items():
                sql.hold(db, name, item)
            for name, published in records.items():
                text = msgspec.json.encode(published).decode()
                db.execute("INSERT OR REPLACE INTO published VALUES (?, ?)", (name, text))
            self._changed(db)
        self._sweep()

    def prune_log(self, until: int) -> int:
        """Remove logged events up to a moment that every base covers; how many those were."""
        with self._file.writing() as db:
            until = min([until, *(held.as_of for held in self._current(db).groups.values())])
            db.execute("UPDATE meta SET value = max(value, ?) WHERE name = 'pruned'", (until,))
            return int(db.execute("DELETE FROM log WHERE at <= ?", (until,)).rowcount)

    def counts(self) -> dict[str, dict[str, int]]:
        """By stream: accepted, duplicates, conflicting, late, covered, and `newest` in microseconds."""
        with self._file.reading() as db:
            names = (*COUNTS, "newest")
            rows = db.execute(f"SELECT stream, {', '.join(names)} FROM streams ORDER BY stream")
            return {stream: dict(zip(names, numbers, strict=True)) for stream, *numbers in rows}

    def close(self) -> None:
        """Let go of connections."""
        self._file.close()

    def _current(self, db: sqlite3.Connection) -> State:
        """The state; read again only where its epoch is another one."""
        epoch, kept = sql.meta(db, "epoch"), self._state
        if kept is None or kept.epoch != epoch:
            held = dict(db.execute("SELECT id, held FROM held").fetchall())
            published = dict(db.execute("SELECT name, published FROM published").fetchall())
            kept = state_of(epoch, held, published)
            if self._file.is_reader(db):
                self._state = kept  # what a writer sees may yet be rolled back
        return kept

    def _changed(self, db: sqlite3.Connection) -> None:
        db.execute("UPDATE meta SET value = value + 1 WHERE name = 'epoch'")

    def _put(self, statement: str, rows: Iterator[tuple[Any, ...]]) -> None:
        """Many rows in short transactions, so that events find their turn in between."""
        while chunk := list(islice(rows, CHUNK)):
            with self._file.writing() as db:
                db.executemany(statement, chunk)

    def _sweep(self) -> None:
        """Remove generations before the current ones, and recent events that a base covers."""
        state = self.state()
        for name, held in state.groups.items():
            with self._file.writing() as db:
                db.execute(f"DELETE FROM base_{name} WHERE generation < ?", (held.generation,))
                db.execute(f"DELETE FROM recent_{name} WHERE at <= ?", (held.as_of,))
        with self._file.writing() as db:
            for name, published in state.records.items():
                db.execute(
                    "DELETE FROM records WHERE name = ? AND generation < ?", (name, published.generation)
                )
