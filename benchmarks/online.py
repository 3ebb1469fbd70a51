"""online: what events and look-ups of the online store cost, for each thing that may keep it."""

import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from benchmarks.calibration import Figure, measured
from contract.errors import FlightlineError
from pipelines.building.walk import in_order
from pipelines.cli import quiet
from pipelines.materialise import materialise, sound_tables
from serving.features.completion import Completer
from serving.features.facts import microseconds
from serving.features.store import Event, Store, StoreError, open_store
from training import model as models
from training.model import AT, Model

MODEL = "flights"
AS_OF = datetime(2013, 6, 27, tzinfo=UTC)
UNTIL = AS_OF + timedelta(hours=23)  # most of a busy day has come since the store was materialised
BATCH, ALONE, ROWS = 500, 200, 500
START_S = 20.0


class _World(NamedTuple):
    """What both stores are given."""

    model: Model
    known: dict[str, pl.DataFrame]
    events: list[Event]
    requests: list[tuple[Any, Any, datetime]]  # row, keys, moment


def online() -> list[Figure]:
    """Each figure for SQLite and, where `redis-server` is installed, for Redis over a Unix socket."""
    model = models.load(MODEL)
    known, tables = sound_tables(MODEL, AS_OF), sound_tables(MODEL, UNTIL)
    world = _World(model, known, _events(model, tables), _requests(model, tables))
    found = []
    with tempfile.TemporaryDirectory(prefix="flightline-") as place:
        folder = Path(place)
        found += _figures("SQLite", str(folder / "online.db"), world)
        command = shutil.which("redis-server")
        if command is None:
            print("redis-server is not installed: Redis goes unmeasured", file=sys.stderr)
            return found
        with _redis(command, folder) as address:
            found += _figures("Redis", address, world)
    return found


def _figures(name: str, address: str, world: "_World") -> list[Figure]:
    model, known, events, requests = world
    store = open_store(address)
    try:
        whole = measured(f"{name}: materialise", lambda: materialise(model, known, AS_OF, store, say=quiet))
        alone, together = events[:ALONE], events[ALONE:]
        single = measured("", lambda: [store.add([event]) for event in alone])
        batches = [together[i : i + BATCH] for i in range(0, len(together), BATCH)]
        many = measured("", lambda: [store.add(batch) for batch in batches])
        return [
            whole,
            _each(f"{name}: one event, alone", single, len(alone)),
            _each(f"{name}: one event of {BATCH}", many, len(together), f"{len(events):,} events"),
            *_look_ups(name, store, model, requests),
        ]
    finally:
        store.close()


def _look_ups(
    name: str, store: Store, model: Model, requests: list[tuple[Any, Any, datetime]]
) -> list[Figure]:
    uncached, cached = Completer(store, cache_seconds=0), Completer(store, cache_seconds=3600)
    rows, keys, moments = (list(part) for part in zip(*requests, strict=True))

    def one_by_one(completer: Completer) -> None:
        for row, key, moment in requests:
            completer.complete(model.contract, [row], [key], [moment])

    single = measured("", lambda: one_by_one(uncached))
    batch = measured("", lambda: uncached.complete(model.contract, rows, keys, moments))
    cached.complete(model.contract, rows[-1:], keys[-1:], moments[-1:])
    again = measured(
        "",
        lambda: cached.complete(model.contract, rows[-1:], keys[-1:], moments[-1:]),
        repeat=ROWS,
    )
    if cached.summary()["cache"]["misses"] > len(model.contract.stored):
        raise FlightlineError("the cache was missed", "every look-up but the first from it", "Look at it")
    detail = f"{len(model.contract.stored)} features"
    return [
        _each(f"{name}: one row completed", single, ROWS, detail),
        _each(f"{name}: one row of {ROWS} completed", batch, ROWS),
        _each(f"{name}: one row completed from the cache", again, 1),
    ]


def _each(name: str, whole: Figure, times: int, detail: str = "") -> Figure:
    return Figure(name, whole.seconds / times, whole.calibration_s, detail=detail)


def _events(model: Model, tables: dict[str, pl.DataFrame]) -> list[Event]:
    """What happened since, in its order."""
    streams = {
        name: table.filter(pl.col(AT) > AS_OF, pl.col(AT) <= UNTIL)
        for name, table in model.events(tables).items()
    }
    return [
        Event(f"e{number}", stream, microseconds(at), {k: v for k, v in facts.items() if k != AT})
        for number, (at, stream, facts) in enumerate(in_order(streams, model.contract))
    ]


def _requests(model: Model, tables: dict[str, pl.DataFrame]) -> list[tuple[Any, Any, datetime]]:
    """Rows without their stored features, their keys and their moments, at the end of the day."""
    rows = model.rows(tables).filter(pl.col(AT) <= UNTIL).sort(AT).tail(ROWS).to_dicts()
    names = [feature.name for feature in model.contract.features if not feature.stored]
    keys = model.contract.keys
    return [({n: row[n] for n in names}, {k: row[k] for k in keys}, row[AT]) for row in rows]


@contextmanager
def _redis(command: str, folder: Path) -> Iterator[str]:
    """A Redis that syncs every acknowledged write to the disk, as SQLite does here."""
    place = folder / "redis.sock"
    options = ["--port", "0", "--unixsocket", str(place), "--save", "", "--dir", str(folder)]
    durable = ["--appendonly", "yes", "--appendfsync", "always"]
    with subprocess.Popen([command, *options, *durable], stdout=subprocess.DEVNULL) as server:
        try:
            address = f"unix://{place}"
            deadline = time.monotonic() + START_S
            while not _answers(address):
                if server.poll() is not None or time.monotonic() > deadline:
                    raise FlightlineError("redis-server did not start", "it to answer", "Run it by hand")
                threading.Event().wait(0.05)
            yield address
        finally:
            server.terminate()


def _answers(address: str) -> bool:
    try:
        open_store(address).close()
    except StoreError:
        return False
    return True
