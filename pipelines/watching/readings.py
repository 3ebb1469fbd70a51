"""What a check reads: the log's window, the labels that have arrived, and the checks before it."""

from datetime import datetime, timedelta
from typing import Any

import polars as pl

from contract.bundle import Bundle
from contract.predictions import SHADOW, completed, log_schema
from contract.segments import live_segments
from contract.strict import decode_json
from pipelines.machine.settings import Settings
from pipelines.staging.checks import ENTITY as SMOKE_ENTITY

WINDOW_DAYS = 30
NO_LABELS = {"entity_id": pl.String(), "label": pl.String(), "arrived_at": pl.Datetime("us", "UTC")}


def read_log(
    model: str, bundle: Bundle, settings: Settings, environment: str, as_of: datetime
) -> pl.DataFrame:
    """The predictions of the window that this bundle made; another version behaves in its own way.

    What was asked twice about an entity and one moment, as by a period that is replayed again, is there
    once, as last answered.
    """
    schema = log_schema(bundle.contract)
    paths = live_segments(settings.predictions(environment) / model)
    if not paths:
        return pl.DataFrame(schema=schema)
    inside = pl.col("event_time").is_between(as_of - timedelta(days=WINDOW_DAYS), as_of, closed="left")
    answers = pl.col("role").ne_missing(SHADOW)  # what a shadow would have said is nobody's prediction
    # What the smoke suite asks is not traffic.
    asked = pl.col("entity_id").is_null() | (pl.col("entity_id") != SMOKE_ENTITY)
    parts = [
        completed(pl.scan_parquet(path, glob=False))
        .filter(inside & asked & answers & (pl.col("digest") == bundle.digest))
        .collect()
        for path in paths
    ]
    made = pl.concat([pl.DataFrame(schema=schema), *[part for part in parts if part.height]])
    once = pl.struct("entity_id", "event_time").is_last_distinct()
    return made.sort("received_at", "request_id").filter(pl.col("entity_id").is_null() | once)


def read_labels(model: str, settings: Settings) -> pl.DataFrame:
    """Every label that was delivered, whenever it arrived; what two replays delivered alike is there once."""
    paths = sorted(settings.labels(model).glob("*.parquet"))
    return pl.concat([pl.DataFrame(schema=NO_LABELS), *map(pl.read_parquet, paths)]).unique()


def count_new(labels: pl.DataFrame, trained: datetime, as_of: datetime) -> int:
    """Entities with a label that arrived after `trained` and by `as_of`; one delivered twice counts once."""
    new = pl.col("arrived_at").is_between(trained, as_of, closed="right")
    return labels.filter(new, pl.col("label").is_not_null())["entity_id"].n_unique()


def alarms_before(model: str, digest: str, settings: Settings, as_of: datetime) -> int:
    """How many checks of the bundle `digest` on days before `as_of` alarmed in a row, the latest first."""
    folders = (settings.var / "monitoring" / model).glob("????-??-??")
    count = 0
    for folder in sorted(folders, reverse=True):
        path = folder / "check.json"
        if folder.name >= f"{as_of:%Y-%m-%d}" or not path.is_file():
            continue
        found = decode_json(path.read_bytes(), dict[str, Any], str(path))
        if found.get("digest") != digest or not str(found.get("drift")).startswith("alarm"):
            break
        count += 1
    return count
