"""Which rows of the past a version is verified with."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import polars as pl

from contract.bundle import Bundle
from pipelines.replay import moments
from training import model as models

FIRST = datetime(1900, 1, 1, tzinfo=UTC)  # before every example


@dataclass(frozen=True)
class Past:
    """Rows as requests would have sent them."""

    what: str  # they are, as in "28,878 rows of March 2013"
    rows: pl.DataFrame  # one column a feature


def the_past(bundle: Bundle, most: int) -> Past:
    """At most `most` rows of the past, evenly spaced.

    The last month that was over when the bundle was made, each row as it was known at its own moment, as a
    replay would send it; where the data have no such month, all examples until then. A model that this
    checkout does not declare brings its golden rows alone.

    Raises:
        FlightlineError: the source data are not there.
    """
    if bundle.model not in models.names():
        found = pl.DataFrame([item.row for item in bundle.golden.rows], infer_schema_length=None)
        return Past("golden rows", found.head(most))
    until = datetime.fromisoformat(bundle.environment.as_of)
    start, end = last_month(until)
    what, found = f"rows of {start:%B %Y}", moments(bundle.model, start, end)
    if found.is_empty():
        what, found = "rows, all there are", moments(bundle.model, FIRST, until)
    found = found.select(feature.name for feature in bundle.contract.features)
    every = -(-found.height // most)
    return Past(what, found.gather_every(max(every, 1)))


def last_month(until: datetime) -> tuple[datetime, datetime]:
    """First moment of the last calendar month (UTC) that was over at `until`, and first moment after it."""
    end = until.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return (end - timedelta(days=1)).replace(day=1), end
