"""One row to explain: a held-out one with all that was known at its moment, or one of a request."""

import dataclasses
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from contract.errors import ConfigError, FlightlineError
from contract.schema import Contract
from contract.strict import decode_json, near_miss
from pipelines.building.artifacts import Artifacts, read_table, read_tables
from serving.rows import RowsRefusedError, decode_rows
from training.features import examples
from training.model import AT, ID, LABEL, LABEL_AT, Model


@dataclass(frozen=True)
class Window:
    """The events that the aggregates of one stream, key and window saw."""

    stream: str
    keys: dict[str, Any]
    since: datetime  # later than this
    until: datetime  # up to and including this
    events: int
    latest: dict[str, Any]  # the last event; empty where there was none
    features: tuple[str, ...]


@dataclass(frozen=True)
class Subject:
    """The row, its features as the graph gets them, and, of a held-out row, where they come from."""

    id: str
    features: pl.DataFrame  # one row, the contract's columns
    at: datetime | None = None
    facts: dict[str, Any] = dataclasses.field(default_factory=dict)  # the raw row, without its outcome
    windows: tuple[Window, ...] = ()
    outcome: str | None = None  # the class, where it is known
    outcome_at: datetime | None = None


def requested(path: Path, contract: Contract) -> Subject:
    """The row of a request: `{"row": {...}}`, as a caller sends it.

    Raises:
        FlightlineError: the file is no request, or the contract refuses its row.
    """
    body = decode_json(path.read_bytes(), dict[str, Any], str(path))
    row = body.get("row", body)
    try:
        values = decode_rows(contract, [row], "row").values[0]
    except RowsRefusedError as error:
        first = error.problems[0]
        raise FlightlineError(
            f"{path}, {first.field}: {first.found}", first.expected, "Correct the request"
        ) from None
    types = {item.name: pl.Float64 if item.kind == "number" else pl.String for item in contract.features}
    return Subject(str(path), pl.DataFrame([values], schema=types))


def drawn(artifacts: Artifacts, seed: int) -> str:
    """The id of a held-out row, drawn by `seed`."""
    ids = read_table(artifacts.split / "test.parquet")[ID]
    return str(ids[int(np.random.default_rng(seed).integers(ids.len()))])


def held_out(name: str, model: Model, artifacts: Artifacts) -> Subject:
    """The row `name` of the held-out table, its features computed again from what was known at its moment.

    Raises:
        FlightlineError: there is no such row, or a feature is not what the table holds.
    """
    test = read_table(artifacts.split / "test.parquet")
    stored = test.filter(pl.col(ID) == name)
    if stored.is_empty():
        hint = near_miss(name, test[ID].to_list())
        raise ConfigError(
            f"no held-out row of {model.contract.model} is called '{name}'{hint}",
            f"one of {test.height:,} ids such as {test[ID][0]}",
            "Name one of them, or draw one: --random 1",
        )
    at: datetime = stored[AT][0]
    tables = read_tables(artifacts.checked)
    raw = model.rows(tables).filter(pl.col(ID) == name)
    past = {stream: rows.filter(pl.col(AT) <= at) for stream, rows in model.events(tables).items()}
    # Only this row, and no event that was known later: what serving could have known.
    then = dataclasses.replace(model, rows=lambda _: raw, events=lambda _: past)
    names = [feature.name for feature in model.contract.features]
    features = examples(then, tables).select(names)
    _require_equal(name, features, stored.select(names))
    label = stored[LABEL][0]
    return Subject(
        id=name,
        features=features,
        at=at,
        facts={key: value for key, value in raw.row(0, named=True).items() if key not in (LABEL, LABEL_AT)},
        windows=_windows(model.contract, raw, past, at),
        outcome=None if label is None else model.contract.classes[label],
        outcome_at=stored[LABEL_AT][0],
    )


def _windows(
    contract: Contract, raw: pl.DataFrame, past: dict[str, pl.DataFrame], at: datetime
) -> tuple[Window, ...]:
    groups: dict[tuple[str, tuple[str, ...], int], list[str]] = {}
    for feature in contract.features:
        spec = feature.aggregate
        if spec is not None:
            groups.setdefault((spec.events, spec.by, spec.window_minutes), []).append(feature.name)
    row = raw.row(0, named=True)
    found = []
    for (stream, by, minutes), features in groups.items():
        since = at - timedelta(minutes=minutes)
        seen = past[stream].filter(pl.col(AT) > since, *(pl.col(key) == row[key] for key in by)).sort(AT)
        latest = seen.row(-1, named=True) if seen.height else {}
        keys = {key: row[key] for key in by}
        found.append(Window(stream, keys, since, at, seen.height, latest, tuple(features)))
    return tuple(found)


def _require_equal(name: str, computed: pl.DataFrame, stored: pl.DataFrame) -> None:
    other = [
        column for column in stored.columns if not computed[column].equals(stored[column], null_equal=True)
    ]
    if computed.height != 1 or other:
        column = other[0] if other else "the row"
        values = (
            table[column].to_list() if column in table.columns else table.height
            for table in (stored, computed)
        )
        raise FlightlineError(
            "{}: {} is {} in the held-out table and {} computed again".format(name, column, *values),
            "equal values",
            "Build the tables again: make train; where that does not help, the feature is not deterministic",
        )
