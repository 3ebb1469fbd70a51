"""Which parts of the held-out flights are judged one by one, and which features belong together."""

import polars as pl

from contract.schema import Feature
from training.model import Slice
from training.models.flights.contract import ORIGINS

LARGE_CARRIERS = ("UA", "B6", "EV", "DL", "AA", "MQ", "US", "9E", "WN")  # over 3 % of the departures each
SLICES = (
    *(Slice(f"origin {code}", pl.col("origin") == code) for code in ORIGINS),
    # Delays build up over the day, so that a model may be good in the morning only.
    *(
        Slice(
            f"departs {first:02}-{last:02} h", (pl.col("departure_minute") // 60).is_between(first, last - 1)
        )
        for first, last in ((0, 10), (10, 15), (15, 19), (19, 24))
    ),
    *(Slice(f"carrier {code}", pl.col("carrier") == code) for code in LARGE_CARRIERS),
)


def group(feature: Feature) -> str:
    """What the feature is about: decided by its declaration, so that a new one finds its group by itself."""
    spec = feature.aggregate
    if spec is None:
        if feature.source == "batch":
            return "plane"
        return "categories" if feature.kind == "category" else "schedule"
    if spec.events == "weather":
        return "weather"
    return "history" if feature.source == "batch" else "state"
