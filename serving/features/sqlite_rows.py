# ruff: noqa: S608, ISC004 - the names of tables and columns are hexadecimal ids and numbers of ours
"""The statements of the embedded store: what one group's tables are, and how rows go in and come out."""

import sqlite3
from collections.abc import Iterator, Sequence
from functools import lru_cache

import msgspec

from serving.features.groups import Group, Latest
from serving.features.store import COUNTS, Ask, Base, Counted, Event, Found, Held, Row, larger


def tables(name: str, group: Group) -> tuple[str, str]:
    """What makes the tables of a group."""
    columns = "".join(f", t{number} INTEGER NOT NULL" for number in range(group.width))
    columns += "".join(f", l{number} REAL" for number in range(len(group.latest)))
    return (
        f"CREATE TABLE IF NOT EXISTS recent_{name} (key TEXT NOT NULL, at INTEGER NOT NULL,"
        f" event INTEGER NOT NULL{columns}, PRIMARY KEY (key, at, event)) WITHOUT ROWID",
        f"CREATE TABLE IF NOT EXISTS base_{name} (generation INTEGER NOT NULL, key TEXT NOT NULL,"
        f" at INTEGER NOT NULL{columns}, PRIMARY KEY (generation, key, at)) WITHOUT ROWID",
    )


def insert(db: sqlite3.Connection, rows: Sequence[Row], event: int, at: int) -> None:
    """Add what an event says of some keys; adding it again changes nothing."""
    for row in rows:
        places = marks(3 + len(row.totals) + len(row.latest))
        values = (row.key, at, event, *row.totals, *row.latest)
        db.execute(f"INSERT OR REPLACE INTO recent_{row.group} VALUES ({places})", values)


def hold(db: sqlite3.Connection, name: str, held: Held) -> None:
    """Keep what there is of a group."""
    db.execute("INSERT OR REPLACE INTO held VALUES (?, ?)", (name, msgspec.json.encode(held).decode()))


def count(db: sqlite3.Connection, stream: str, one: Counted, newest: int) -> None:
    """Add the counts of one event to those of its stream."""
    added = ", ".join(f"{name} = {name} + excluded.{name}" for name in COUNTS)
    db.execute(
        f"INSERT INTO streams (stream, {', '.join(COUNTS)}, newest) VALUES ({marks(2 + len(COUNTS))})"
        f" ON CONFLICT (stream) DO UPDATE SET {added}, newest = excluded.newest",
        (stream, *(getattr(one, name) for name in COUNTS), newest),
    )


def logged(db: sqlite3.Connection, streams: set[str]) -> Iterator[tuple[int, Event]]:
    """Number and event of what the log has of `streams`."""
    places = marks(len(streams))
    cursor = db.execute(f"SELECT seq, id, stream, at, facts FROM log WHERE stream IN ({places})", (*streams,))
    for seq, name, stream, at, facts in cursor:
        yield seq, Event(name, stream, at, msgspec.json.decode(facts))


def meta(db: sqlite3.Connection, name: str) -> int:
    """A number of the store's own."""
    return int(db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()[0])


def marks(count: int) -> str:
    """So many places for values."""
    return ", ".join("?" * count)


def found(db: sqlite3.Connection, ask: Ask) -> Found:
    """The answer to one question."""
    sums, newest = [], None
    if ask.starts:
        for start in ask.starts:
            row = db.execute(_sum(ask.group, ask.width), (ask.key, start, ask.until)).fetchone()
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


@lru_cache(maxsize=4096)
def _sum(group: str, width: int) -> str:
    columns = ", ".join(f"coalesce(sum(t{number}), 0)" for number in range(width))
    return f"SELECT {columns} FROM recent_{group} WHERE key = ? AND at > ? AND at <= ?"
