"""Point-in-time features: the contract's aggregates, compiled once to Ibis.

An aggregate at the moment `t` sees the events with time in `(t - window, t]` and no other. Each is the
difference of two running totals, looked up by as-of joins at `t` and at `t - window`; so a whole year
costs a few sorted passes and no row is ever compared with every other.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import polars as pl

from contract.errors import ConfigError
from contract.schema import Aggregate, Contract, Feature
from training.model import AT, ID, KEYS, Model, Tables

_Group = tuple[str, tuple[str, ...]]  # stream, keys


def examples(
    model: Model, tables: Tables, since: datetime | None = None, until: datetime | None = None
) -> pl.DataFrame:
    """One row an example: `KEYS` and the contract's features, sorted by moment and id.

    Only examples with a moment in [since, until), where these are given; the rows are then those that the
    call without them gives, and what lies further back than the longest window before `since` is not gone
    through again. Totals without an end carry over the balance at `since`, one sum over their own stream.
    """
    rows = model.rows(tables)
    if since is not None:
        rows = rows.filter(pl.col(AT) >= since)
    if until is not None:
        rows = rows.filter(pl.col(AT) < until)
    past = aggregates(rows, model.events(tables), model.contract, since)
    names = [feature.name for feature in model.contract.features]
    return rows.join(past, on=ID, how="left").select(*KEYS, *names).sort(AT, ID)


def aggregates(
    rows: pl.DataFrame,
    events: Mapping[str, pl.DataFrame],
    contract: Contract,
    since: datetime | None = None,
) -> pl.DataFrame:
    """Every aggregate feature of `contract` for each of `rows`.

    Args:
        rows: columns `id` (unique), `at` (the moment of prediction) and the entity keys.
        events: stream name -> column `at` (when the event became known), keys and values (integers where
            they are summed, so that running totals are exact).
        contract: declares the aggregates.
        since: no row lies before it, so that events which no window of theirs reaches are left out.

    Returns:
        `id` and one column an aggregate feature, in the contract's order, sorted by `id`. A mean without
        values and a latest value without events are null; a count or sum is 0.

    Raises:
        ConfigError: a value that is summed is no integer.
    """
    wanted: dict[_Group, list[tuple[Feature, Aggregate]]] = defaultdict(list)
    for feature in contract.features:
        spec = feature.aggregate
        if spec is not None:
            wanted[spec.events, spec.by].append((feature, spec))
    rows = rows.sort(ID)
    result = rows.select(ID)
    if not wanted:
        return result
    import ibis

    from training.windows import ROW, group

    engine = ibis.duckdb.connect()
    try:
        keys = sorted({key for _, by in wanted for key in by})
        left = rows.select(*keys, _microseconds(), pl.int_range(pl.len()).alias(ROW))
        engine.create_table("rows", left.to_arrow())
        for (stream, by), features in sorted(wanted.items()):
            events_of = _reached(events[stream], [spec for _, spec in features], since)
            engine.create_table("events", events_of.to_arrow(), overwrite=True)
            found = pl.DataFrame(group(engine, by, features).to_pyarrow())
            result = result.hstack(found.sort(ROW).drop(ROW))
        return result.select(ID, *(item.name for item in contract.features if item.aggregate is not None))
    finally:
        engine.disconnect()


def _reached(events: pl.DataFrame, specs: Sequence[Aggregate], since: datetime | None) -> pl.DataFrame:
    """The columns that `specs` read, of the events that a window ending at `since` or later can hold."""
    for value in sorted({spec.value for spec in specs if spec.statistic in ("mean", "sum")}):
        if not events[value].dtype.is_integer():
            raise ConfigError(
                f"'{value}' of the stream '{specs[0].events}' is summed and of type {events[value].dtype}",
                "an integer, whose totals are exact in every order",
                "Count it in a smaller unit, or take its latest value",
            )
    if since is not None:
        reach = since - timedelta(minutes=max(spec.window_minutes for spec in specs))
        if not any(spec.endless for spec in specs):
            events = events.filter(pl.col(AT) > reach)
        elif all(spec.statistic != "latest" for spec in specs):
            # A total does not ask when the past was: all of it becomes one moment, the balance carried over.
            events = events.with_columns(pl.max_horizontal(AT, pl.lit(reach)))
    values = {spec.value for spec in specs if spec.statistic != "count"}
    return events.select(*specs[0].by, *sorted(values), _microseconds())


def _microseconds() -> pl.Expr:
    """`AT` as a whole number: quicker to compare than a moment, and in no time zone."""
    return pl.col(AT).dt.epoch("us").alias(AT)
