"""Precomputed answers looked up by entity, in files that may be replaced at any moment."""

import json
import re
import sqlite3
import threading
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

from contract.scores import SUFFIX, VERSION

MEMORY_MAP = 256 * 1024**2  # bytes of the file that are read without a copy, at most
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


@dataclass(frozen=True)
class Score:
    """One precomputed answer and the release that gave it."""

    label: str
    scores: dict[str, float]  # by class
    scored_at: datetime
    version: str
    digest: str
    fresh_hours: float | None  # how old it may be; None: as old as it likes


@dataclass(frozen=True)
class _Store:
    """One open file: it stays readable when another takes its place."""

    state: tuple[int, int, int]  # what tells the file from its successor
    connection: sqlite3.Connection
    classes: tuple[str, ...]
    version: str
    digest: str
    fresh_hours: float | None


class StoreError(Exception):
    """The file of a model cannot be read."""


class Scores:
    """The published files of a folder, each opened when first asked for, and again when it is replaced."""

    def __init__(self, folder: Path) -> None:
        """Read nothing yet."""
        self._folder = folder
        self._stores: dict[str, _Store] = {}
        self._lock = threading.Lock()

    def find(self, model: str, entity: str) -> Score | None:
        """The answer about `entity`; None where there is none, or nothing was published.

        Raises:
            StoreError: the file is not one that was published.
        """
        with self._lock:
            try:
                store = self._current(model)
                if store is None:
                    return None
                asked = "SELECT label, scores, scored_at FROM scores WHERE entity_id = ?"
                row = store.connection.execute(asked, (entity,)).fetchone()
            except (sqlite3.Error, ValueError, TypeError, OSError) as error:
                self._forget(model)
                raise StoreError(f"the scores of {model} cannot be read ({error})") from error
        if row is None:
            return None
        return Score(
            label=row[0],
            scores=dict(zip(store.classes, json.loads(row[1]), strict=True)),
            scored_at=datetime.fromisoformat(row[2]),
            version=store.version,
            digest=store.digest,
            fresh_hours=store.fresh_hours,
        )

    def close(self) -> None:
        """Close every file."""
        with self._lock:
            for model in list(self._stores):
                self._forget(model)

    def _current(self, model: str) -> _Store | None:
        if not _NAME.fullmatch(model):  # it names a file
            return None
        path = self._folder / f"{model}{SUFFIX}"
        try:
            status = path.stat()
        except FileNotFoundError:
            self._forget(model)
            return None
        state = (status.st_ino, status.st_mtime_ns, status.st_size)
        held = self._stores.get(model)
        if held is None or held.state != state:
            self._forget(model)
            held = self._stores[model] = _open(path, state)
        return held

    def _forget(self, model: str) -> None:
        held = self._stores.pop(model, None)
        if held is not None:
            held.connection.close()


def _open(path: Path, state: tuple[int, int, int]) -> _Store:
    # Immutable: a published file is never written again, so that no lock is needed, nor a writable folder.
    uri = f"file:{quote(str(path))}?mode=ro&immutable=1"
    connection = sqlite3.connect(uri, uri=True, check_same_thread=False)
    try:
        _require_layout(connection)
        connection.execute(f"PRAGMA mmap_size = {MEMORY_MAP}")
        row = connection.execute("SELECT classes, version, digest, fresh_hours FROM about").fetchone()
        return _Store(state, connection, tuple(json.loads(row[0])), *row[1:])
    except BaseException:
        connection.close()
        raise


def _require_layout(connection: sqlite3.Connection) -> None:
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    if found != VERSION:
        raise ValueError(f"layout {found}, expected {VERSION}")
