"""A folder of answers made into the file that a service looks up scores in, and put there in one step."""

import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq

from contract.errors import FlightlineError
from contract.locks import exclusive
from contract.predictions import SCORE_PREFIX
from contract.schema import Contract
from contract.scores import SUFFIX, TABLES
from pipelines.machine.files import scratch
from pipelines.scoring.batches import facts, outputs
from pipelines.scoring.tables import ENTITY

PIECE_ROWS = 20_000


@dataclass(frozen=True)
class Published:
    """What can be looked up now."""

    path: str
    model: str
    version: str
    digest: str
    entities: int
    replaced: int  # rows about an entity that a later file also answers about
    without_id: int  # rows that cannot be looked up


def publish(answers: Path, contract: Contract, folder: Path, fresh_hours: float | None = None) -> Published:
    """Make every answer in `answers` findable by its entity in `folder/MODEL.sqlite`.

    What was published before is gone in the same moment; a service that is reading goes on with the old file
    until its next look-up. Of several answers about one entity the last counts: by the time of scoring, then
    by the names of the files, then by row.

    Raises:
        FlightlineError: there is nothing to publish, or not of one bundle with ids of what was scored.
        OSError: the disk refuses; what was published before stays.
    """
    found = sorted((facts(path)["scored_at"], path) for path in outputs(answers))
    told = {facts(path)["digest"]: facts(path) for _, path in found}
    if len(told) != 1:
        raise FlightlineError(
            f"{answers} holds answers of {len(told)} bundles",
            "those of one",
            "Score into a folder of its own",
        )
    about = next(iter(told.values()))
    if about["model"] != contract.model:
        raise FlightlineError(f"{answers} is about {about['model']}", contract.model, "Name another folder")
    target = folder / f"{contract.model}{SUFFIX}"
    with (
        exclusive(folder / f".{contract.model}.lock", f"publication of {contract.model}"),
        scratch(folder) as part,
    ):
        made = part / target.name
        rows = without = 0
        with closing(sqlite3.connect(made)) as store:
            # Nobody sees the file before it is whole, and a kill leaves nothing that is ever read.
            store.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;" + TABLES)
            store.execute(
                "INSERT INTO about VALUES (?, ?, ?, ?, ?, ?)",
                (
                    *(about[name] for name in ("model", "version", "digest")),
                    json.dumps(contract.classes),
                    datetime.now(UTC).isoformat(),
                    fresh_hours,
                ),
            )
            for scored_at, path in found:
                for piece in _pieces(path, contract):
                    known = piece.filter(pl.col(ENTITY).is_not_null())
                    rows, without = rows + known.height, without + piece.height - known.height
                    store.executemany(
                        "INSERT OR REPLACE INTO scores VALUES (?, ?, ?, ?)",
                        (
                            (entity, label, json.dumps(scores), scored_at)
                            for entity, label, *scores in known.iter_rows()
                        ),
                    )
            entities = int(store.execute("SELECT count(*) FROM scores").fetchone()[0])
            store.commit()
        _into_place(made, target)
    return Published(
        path=str(target),
        model=contract.model,
        version=about["version"],
        digest=about["digest"],
        entities=entities,
        replaced=rows - entities,
        without_id=without,
    )


def _pieces(path: Path, contract: Contract) -> Iterator[pl.DataFrame]:
    """Entity, label and scores in the order of the classes, some rows at a time."""
    columns = [ENTITY, "label", *(SCORE_PREFIX + name for name in contract.classes)]
    with pq.ParquetFile(path) as table:
        if ENTITY not in table.schema_arrow.names:
            raise FlightlineError(
                f"{path} does not say what its rows are about", "ids to look up", "Score with --id COLUMN"
            )
        for batch in table.iter_batches(PIECE_ROWS, columns=columns):
            yield pl.DataFrame(batch).select(columns)


def _into_place(made: Path, target: Path) -> None:
    made.chmod(0o644)  # the service may run as somebody else
    for path in (made, target.parent):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
        if path == made:
            made.replace(target)
