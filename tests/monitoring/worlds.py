"""Synthetic windows whose rows share the effects of their day, as flights share a day's weather."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from contract.predictions import log_schema
from contract.schema import Contract, Feature
from monitoring.policy import DriftPolicy, HealthPolicy, PerformancePolicy, RetrainPolicy

START = datetime(2013, 1, 1, tzinfo=UTC)
CONTRACT = Contract(
    model="toy",
    features=(
        Feature(
            name="temp", kind="number", description="temperature", minimum=-50, maximum=60, nullable=True
        ),
        Feature(name="wind", kind="number", description="wind", minimum=0, nullable=True),
        Feature(name="hour", kind="number", description="hour", minimum=0, maximum=23),
        Feature(name="carrier", kind="category", description="carrier", categories=("AA", "B6", "UA", "9E")),
        Feature(name="route", kind="category", description="route, open-ended"),
    ),
    target="is_late",
    classes=("on_time", "late"),
    scores="probability",
)
HEALTH = HealthPolicy(
    min_rows=100, missing_increase=0.05, unknown_increase=0.05, range_increase=0.01, duplicates=0.01
)
DRIFT = DriftPolicy(psi=0.1, drifted_share=0.3, min_rows=500, min_days=7)
PERFORMANCE = PerformancePolicy(
    min_labels=200, min_days=5, min_coverage=0.8, calibration_gap=0.05, log_loss_increase=0.01, resamples=300
)
RETRAIN = RetrainPolicy(
    min_new_labels=100, drift_windows=2, cooldown_days=2, weekly_budget=3, max_rejections=3,
    volume_labels=10_000, max_age_days=60,
)  # fmt: skip


def window(days: int = 30, rows_a_day: int = 200, *, seed: int = 0, start: datetime = START) -> pl.DataFrame:
    """A prediction log in which every day has a temperature, a wind and a mix of carriers of its own."""
    generator = np.random.default_rng(seed)
    rows = days * rows_a_day
    day = np.repeat(np.arange(days), rows_a_day)
    temp = generator.normal(10, 3, days)[day] + generator.normal(0, 4, rows)
    wind = generator.gamma(4, 2, days)[day] * generator.uniform(0.5, 1.5, rows)
    mixes = generator.dirichlet([40, 30, 20, 10], days)
    carrier = (generator.random(rows)[:, None] > mixes.cumsum(axis=1)[day]).sum(axis=1)
    late = 1 / (1 + np.exp(1.5 - wind / 8 + generator.normal(0, 0.5, rows)))
    moments = [
        start + timedelta(days=int(d), seconds=int(s))
        for d, s in zip(day, generator.integers(0, 86_400, rows), strict=True)
    ]
    ids = [f"{seed}-{n}" for n in range(rows)]
    return pl.DataFrame(
        {
            "request_id": ids,
            "entity_id": ids,
            "model": ["toy"] * rows,
            "version": ["1"] * rows,
            "digest": ["d" * 64] * rows,
            "role": ["answer"] * rows,
            "received_at": moments,
            "event_time": moments,
            "latency_ms": generator.gamma(2, 1, rows),
            "keys": [None] * rows,
            "filled": [[]] * rows,
            "label": np.where(late > 0.5, "late", "on_time"),
            "feature.temp": temp,
            "feature.wind": wind,
            "feature.hour": generator.integers(5, 23, rows).astype(float),
            "feature.carrier": np.array(["AA", "B6", "UA", "9E"])[np.minimum(carrier, 3)],
            "feature.route": np.array(["JFK-LAX", "LGA-ORD", "EWR-SFO"])[generator.integers(0, 3, rows)],
            "score.on_time": 1 - late,
            "score.late": late,
        },
        schema=log_schema(CONTRACT),
    )


def reference(days: int = 60, rows_a_day: int = 200, seed: int = 1_000) -> pl.DataFrame:
    """A bundle's reference: features, scores, label and the day of each row."""
    rows = window(days, rows_a_day, seed=seed).with_columns(day=pl.col("event_time").dt.date())
    return rows.select(pl.col("^feature\\..*$"), pl.col("^score\\..*$"), "label", "day")


def labels_of(
    log: pl.DataFrame, *, seed: int = 0, offset: float = 0.0, delay_hours: float = 3.0
) -> pl.DataFrame:
    """Labels drawn from the logged probabilities plus `offset`, arriving `delay_hours` after the event."""
    draw = np.random.default_rng(seed).random(log.height)
    late = draw < np.clip(log["score.late"].to_numpy() + offset, 0, 1)
    return pl.DataFrame(
        {
            "entity_id": log["entity_id"],
            "label": np.where(late, "late", "on_time"),
            "arrived_at": log["event_time"] + timedelta(hours=delay_hours),
        }
    )
