"""What an online store is given of the past: the running totals of the offline computation."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import ibis
import polars as pl

from contract.errors import ConfigError
from contract.schema import Aggregate, Contract, Feature
from training.model import AT
from training.windows import running_totals


@dataclass(frozen=True)
class Balance:
    """The running totals of one stream by one key, up to a moment."""

    stream: str
    by: tuple[str, ...]
    since: datetime  # windows that begin here or later are answered
    summed: tuple[str, ...]
    latest: tuple[str, ...]
    # `by`, `at` (microseconds), `n`, `known_VALUE` and `sum_VALUE` of the summed, `last_VALUE` of the latest:
    # at the moments after `since`, and the last one up to it, by key and moment.
    totals: pl.DataFrame


def balances(
    events: Mapping[str, pl.DataFrame], contract: Contract, as_of: datetime, reach: timedelta
) -> Iterator[Balance]:
    """The past of every aggregate of `contract` up to and including `as_of`, by stream and key.

    It answers moments from `as_of - reach` on; what no window reaches from there is one row a key.

    Raises:
        ConfigError: a value that is summed is no integer.
    """
    wanted: dict[tuple[str, tuple[str, ...]], list[tuple[Feature, Aggregate]]] = defaultdict(list)
    for feature in contract.features:
        if feature.aggregate is not None:
            wanted[feature.aggregate.events, feature.aggregate.by].append((feature, feature.aggregate))
    for (stream, by), features in sorted(wanted.items()):
        specs = [spec for _, spec in features]
        since = as_of - reach - timedelta(minutes=max(spec.window_minutes for spec in specs))
        summed = tuple(sorted({spec.value for spec in specs if spec.statistic in ("mean", "sum")}))
        latest = tuple(sorted({spec.value for spec in specs if spec.statistic == "latest"}))
        for value in summed:
            if not events[stream][value].dtype.is_integer():
                raise ConfigError(
                    f"'{value}' of the stream '{stream}' is summed and of type {events[stream][value].dtype}",
                    "an integer, whose totals are exact in every order",
                    "Count it in a smaller unit, or take its latest value",
                )
        past = (
            events[stream]
            .filter(pl.col(AT) <= as_of)
            .drop_nulls(list(by))  # an unknown key equals nothing
            .select(*by, *sorted({*summed, *latest}), pl.col(AT).dt.epoch("us").alias(AT))
        )
        totals = _totals(past, by, features).sort(*by, AT)
        edge = pl.col(AT) > int(since.timestamp()) * 1_000_000
        last = ~edge & (edge.shift(-1).over(by).fill_null(value=True))
        yield Balance(stream, by, since, summed, latest, totals.filter(edge | last))


def _totals(
    past: pl.DataFrame, by: tuple[str, ...], features: list[tuple[Feature, Aggregate]]
) -> pl.DataFrame:
    engine = ibis.duckdb.connect()
    try:
        table = engine.create_table("events", past.to_arrow())
        return pl.DataFrame(running_totals(table, by, features).to_pyarrow())
    finally:
        engine.disconnect()
