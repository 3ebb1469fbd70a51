"""Deliveries that were accepted: each id once, kept until it was acted on, and over a restart."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from contract.errors import FlightlineError
from pipelines.promotion.webhooks import OLDEST_S, Delivery, RejectedError

KEPT_S = 3600  # how long one that could not be acted on is tried; the alias itself stays where it is
_TABLE = (
    "CREATE TABLE IF NOT EXISTS deliveries (id TEXT PRIMARY KEY, sent INTEGER NOT NULL, model TEXT NOT NULL, "
    "alias TEXT NOT NULL, version TEXT NOT NULL, done INTEGER NOT NULL DEFAULT 0)"
)


def last_delivery(path: Path) -> tuple[Delivery, bool] | None:
    """The newest delivery in the file, and whether it was acted on; the file is neither made nor changed.

    Raises:
        FlightlineError: it is no database.
    """
    if not path.exists():
        return None
    with (
        _explained(path),
        closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=10)) as connection,
    ):
        try:
            row = connection.execute(
                "SELECT id, sent, model, alias, version, done FROM deliveries ORDER BY sent DESC, rowid DESC"
            ).fetchone()
        except sqlite3.OperationalError:  # a file that was just made has no table yet
            return None
    return (Delivery(*row[:-1]), bool(row[-1])) if row else None


class Deliveries:
    """A table in a file of its own; every call opens it anew, so that threads may share the object.

    Every call raises FlightlineError where the file cannot be read or written: nothing was changed then.
    """

    def __init__(self, path: Path) -> None:
        """Nothing is opened yet."""
        self._path = path

    def accept(self, delivery: Delivery, now: float) -> None:
        """Keep a delivery that is still to be acted on, durably, before it is answered.

        Raises:
            RejectedError: 409, it was accepted before.
        """
        # An id may go once its time stamp alone would be refused, on whichever side of now it is.
        forgotten, given_up = int(now) - 2 * OLDEST_S, int(now) - KEPT_S
        with self._open() as table:
            table.execute(
                "DELETE FROM deliveries WHERE (done = 1 AND sent < ?) OR sent < ?", (forgotten, given_up)
            )
            added = table.execute(
                "INSERT OR IGNORE INTO deliveries (id, sent, model, alias, version) VALUES (?, ?, ?, ?, ?)",
                (delivery.id, delivery.sent, delivery.model, delivery.alias, delivery.version),
            ).rowcount
        if not added:
            raise RejectedError(
                409, f"the delivery {delivery.id} was accepted before", "each of them once", "Send a new one"
            )

    def pending(self) -> list[Delivery]:
        """Those that were not acted on, the oldest first."""
        with self._open() as table:
            rows = table.execute(
                "SELECT id, sent, model, alias, version FROM deliveries WHERE done = 0 ORDER BY sent, rowid"
            ).fetchall()
        return [Delivery(*row) for row in rows]

    def done(self, delivery: Delivery) -> None:
        """It was acted on; its id is kept, so that it is refused a second time."""
        with self._open() as table:
            table.execute("UPDATE deliveries SET done = 1 WHERE id = ?", (delivery.id,))

    def try_room(self) -> None:
        """Write what changes nothing, to know whether there is room again."""
        with self._open() as table:
            table.execute("PRAGMA user_version = 1")

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with _explained(self._path):
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with closing(sqlite3.connect(self._path, timeout=10)) as connection, connection:
                connection.execute(_TABLE)
                yield connection


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """A full disk, or a file that is no database, as a sentence."""
    try:
        yield
    except (sqlite3.OperationalError, OSError) as error:
        raise FlightlineError(
            f"{path} cannot be read or written ({error})",
            "a disk that takes one delivery more",
            "Make room there; what was not accepted is sent again, or found by the reconciler",
        ) from error
    except sqlite3.DatabaseError as error:
        raise FlightlineError(
            f"{path} is damaged ({error})",
            "the deliveries that the relay has accepted",
            "Remove it: what it held is found by the reconciler",
        ) from error
