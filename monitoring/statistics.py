"""What a window of the prediction log looks like: scores, inputs, latency, age."""

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl

from contract.predictions import FEATURE_PREFIX, SCORE_PREFIX
from contract.schema import Contract, Feature

_DAY_SECONDS = 86_400


@dataclass(frozen=True)
class ScoreStatistics:
    """One class's score over a window. Everything but `invalid` is over finite scores; NaN without any."""

    name: str
    mean: float
    median: float
    maximum: float
    minimum: float
    deviation: float  # of the population
    edges: tuple[float, ...]  # of the histogram's bins, one more than counts
    counts: tuple[int, ...]
    invalid: float  # share of rows whose score is missing, not finite, or no probability


@dataclass(frozen=True)
class FeatureStatistics:
    """Shares of rows (0 to 1) in which one input is not an ordinary value."""

    name: str
    missing: float  # null or NaN
    out_of_range: float  # finite but outside the contract's range, or infinite
    unknown: float  # a category that is not known


@dataclass(frozen=True)
class WindowStatistics:
    """A window of the prediction log in numbers."""

    rows: int
    start: datetime | None  # first and last event time
    end: datetime | None
    versions: tuple[tuple[str, int], ...]  # version and its rows
    labels: tuple[tuple[str, int], ...]  # predicted class and its rows
    scores: tuple[ScoreStatistics, ...]
    features: tuple[FeatureStatistics, ...]
    latency_p50: float  # milliseconds; NaN without rows
    latency_p99: float


def window_statistics(window: pl.DataFrame, contract: Contract, bins: int = 20) -> WindowStatistics:
    """Describe `window`, rows of the layout `contract.predictions.log_schema`."""
    moments = window["event_time"].drop_nulls().sort().to_list()
    latency = window["latency_ms"].drop_nulls().drop_nans()
    return WindowStatistics(
        rows=window.height,
        start=moments[0] if moments else None,
        end=moments[-1] if moments else None,
        versions=_counts(window["version"]),
        labels=_counts(window["label"]),
        scores=tuple(score_statistics(window, name, contract, bins) for name in contract.classes),
        features=tuple(feature_statistics(window, item, item.categories) for item in contract.features),
        latency_p50=_quantile(latency, 0.5),
        latency_p99=_quantile(latency, 0.99),
    )


def score_statistics(frame: pl.DataFrame, name: str, contract: Contract, bins: int = 20) -> ScoreStatistics:
    """Describe the score of class `name`: probabilities over [0, 1], decision values over their own range."""
    column = frame[SCORE_PREFIX + name].cast(pl.Float64)
    finite = column.filter(column.is_finite().fill_null(value=False)).to_numpy()
    is_probability = contract.scores == "probability"
    valid = int(((finite >= 0) & (finite <= 1)).sum()) if is_probability else len(finite)
    counts, edges = np.histogram(finite, bins=bins, range=(0.0, 1.0) if is_probability else None)
    empty = len(finite) == 0
    nan = float("nan")
    return ScoreStatistics(
        name=name,
        mean=nan if empty else float(finite.mean()),
        median=nan if empty else float(np.median(finite)),
        maximum=nan if empty else float(finite.max()),
        minimum=nan if empty else float(finite.min()),
        deviation=nan if empty else float(finite.std()),
        edges=tuple(float(edge) for edge in edges),
        counts=tuple(int(count) for count in counts),
        invalid=1 - valid / frame.height if frame.height else 0.0,
    )


def feature_statistics(frame: pl.DataFrame, feature: Feature, known: tuple[str, ...]) -> FeatureStatistics:
    """Describe one input; `known` are the categories it may have, and empty means that any is fine."""
    column = frame[FEATURE_PREFIX + feature.name]
    missing, out_of_range, unknown = column.null_count(), 0, 0
    if feature.kind == "number":
        values = column.drop_nulls().cast(pl.Float64).drop_nans()
        missing = frame.height - values.len()
        low = float("-inf") if feature.minimum is None else feature.minimum
        high = float("inf") if feature.maximum is None else feature.maximum
        out_of_range = values.len() - int((values.is_finite() & values.is_between(low, high)).sum())
    elif known:
        values = column.drop_nulls()
        unknown = values.len() - int(values.is_in(list(known)).sum())
    rows = max(frame.height, 1)
    return FeatureStatistics(feature.name, missing / rows, out_of_range / rows, unknown / rows)


def age_days(trained: datetime, now: datetime) -> float:
    """Days from the moment `trained` (the model's `as_of`) to `now`; both aware of their zone."""
    return (now - trained).total_seconds() / _DAY_SECONDS


def _counts(column: pl.Series) -> tuple[tuple[str, int], ...]:
    counts = column.drop_nulls().value_counts().rows()
    return tuple(sorted((str(value), int(count)) for value, count in counts))


def _quantile(column: pl.Series, share: float) -> float:
    value = column.quantile(share, interpolation="linear")
    return float("nan") if value is None else float(value)
