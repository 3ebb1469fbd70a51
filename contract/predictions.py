"""The prediction log: its one table layout, written by serving and read by monitoring."""

from datetime import UTC, datetime

import polars as pl

from contract.schema import Contract

FEATURE_PREFIX = "feature."
SCORE_PREFIX = "score."

_MOMENT = pl.Datetime("us", "UTC")

# One row a prediction. Features and scores follow as `feature.NAME` and `score.CLASS`.
COLUMNS: dict[str, pl.DataType] = {
    "request_id": pl.String(),
    "entity_id": pl.String(),  # the caller's id of what was predicted; joins late labels; may be null
    "model": pl.String(),
    "version": pl.String(),
    "digest": pl.String(),
    "received_at": _MOMENT,
    "event_time": _MOMENT,  # the moment of the prediction: the request's, where the environment allows it
    "latency_ms": pl.Float64(),
    "label": pl.String(),
}


def log_schema(contract: Contract) -> dict[str, pl.DataType]:
    """Column names and types of the prediction log of one model, in order."""
    features = {
        FEATURE_PREFIX + feature.name: pl.Float64() if feature.kind == "number" else pl.String()
        for feature in contract.features
    }
    scores = {SCORE_PREFIX + name: pl.Float64() for name in contract.classes}
    return {**COLUMNS, **features, **scores}


def segment_name(start: datetime, writer: str, number: int) -> str:
    """File name of one immutable segment: sorted by name is sorted by time, one writer never overwrites."""
    return f"{start.astimezone(UTC):%Y%m%dT%H%M%S%f}-{writer}-{number:06d}.parquet"
