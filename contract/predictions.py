"""The prediction log: its one table layout, written by serving and read by monitoring."""

from datetime import UTC, datetime
from typing import Literal

import polars as pl

from contract.schema import Contract

FEATURE_PREFIX = "feature."
SCORE_PREFIX = "score."

Role = Literal["answer", "shadow"]
ANSWER: Role = "answer"  # what a caller was told
SHADOW: Role = "shadow"  # what another version would have said to the same, mirrored request

_MOMENT = pl.Datetime("us", "UTC")

# One row a prediction. Features as the model saw them and scores follow as `feature.NAME` and `score.CLASS`.
# What the caller sent is `keys` and those features that are not in `filled`.
COLUMNS: dict[str, pl.DataType] = {
    "request_id": pl.String(),
    "entity_id": pl.String(),  # the caller's id of what was predicted; joins late labels; may be null
    "model": pl.String(),
    "version": pl.String(),
    "digest": pl.String(),
    "role": pl.String(),  # a Role
    "received_at": _MOMENT,
    "event_time": _MOMENT,  # the moment of the prediction: the request's, where the environment allows it
    "latency_ms": pl.Float64(),
    "keys": pl.String(),  # JSON object of the entity keys sent beside the row; null where there were none
    "filled": pl.List(pl.String()),  # features that the caller left out and the online store answered
    "label": pl.String(),
}
# Columns that came later than the first segments: what such a segment means by their absence.
ABSENT: dict[str, object] = {"role": ANSWER, "keys": None, "filled": []}


def log_schema(contract: Contract) -> dict[str, pl.DataType]:
    """Column names and types of the prediction log of one model, in order."""
    features = {
        FEATURE_PREFIX + feature.name: pl.Float64() if feature.kind == "number" else pl.String()
        for feature in contract.features
    }
    scores = {SCORE_PREFIX + name: pl.Float64() for name in contract.classes}
    return {**COLUMNS, **features, **scores}


def completed(rows: pl.LazyFrame) -> pl.LazyFrame:
    """`rows` of a segment in the current order, with the columns that segments of its time did not have."""
    found = rows.collect_schema().names()
    absent = [pl.lit(value, COLUMNS[name]).alias(name) for name, value in ABSENT.items() if name not in found]
    order = [name for name in COLUMNS if name in found or name in ABSENT]
    return rows.with_columns(absent).select(*order, *(name for name in found if name not in COLUMNS))


def segment_name(start: datetime, writer: str, number: int) -> str:
    """File name of one immutable segment: sorted by name is sorted by time, one writer never overwrites."""
    return f"{start.astimezone(UTC):%Y%m%dT%H%M%S%f}-{writer}-{number:06d}.parquet"
