"""The prediction log as a table: its one layout, written by serving and read by monitoring."""

import polars as pl

from contract.log_layout import (
    ANSWER,
    FEATURE_PREFIX,
    KINDS,
    SCORE_PREFIX,
    SHADOW,
    Role,
    log_kinds,
    segment_name,
)
from contract.schema import Contract

__all__ = [
    "ABSENT",
    "ANSWER",
    "COLUMNS",
    "FEATURE_PREFIX",
    "SCORE_PREFIX",
    "SHADOW",
    "Role",
    "completed",
    "log_schema",
    "segment_name",
]

_TYPES: dict[str, pl.DataType] = {
    "text": pl.String(),
    "number": pl.Float64(),
    "moment": pl.Datetime("us", "UTC"),
    "texts": pl.List(pl.String()),
}
COLUMNS: dict[str, pl.DataType] = {name: _TYPES[kind] for name, kind in KINDS.items()}
# Columns that came later than the first segments: what such a segment means by their absence.
ABSENT: dict[str, object] = {"role": ANSWER, "keys": None, "filled": []}


def log_schema(contract: Contract) -> dict[str, pl.DataType]:
    """Column names and types of the prediction log of one model, in order."""
    return {name: _TYPES[kind] for name, kind in log_kinds(contract).items()}


def completed(rows: pl.LazyFrame) -> pl.LazyFrame:
    """`rows` of a segment in the current order, with the columns that segments of its time did not have."""
    found = rows.collect_schema().names()
    absent = [pl.lit(value, COLUMNS[name]).alias(name) for name, value in ABSENT.items() if name not in found]
    order = [name for name in COLUMNS if name in found or name in ABSENT]
    return rows.with_columns(absent).select(*order, *(name for name in found if name not in COLUMNS))
