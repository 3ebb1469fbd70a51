"""Point-in-time features: the contract's aggregates, compiled once to Ibis.

An aggregate at the moment `t` sees the events with time in `(t - window, t]` and no other. Each is the
difference of two running totals, looked up by as-of joins at `t` and at `t - window`; so a whole year
costs a few sorted passes and no row is ever compared with every other.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping

import ibis
import ibis.expr.types as ir
import polars as pl

from contract.schema import Aggregate, Contract, Feature
from training.model import AT, ID, KEYS, Model, Tables

_Group = tuple[str, tuple[str, ...], int]  # stream, keys, window in minutes


def examples(model: Model, tables: Tables) -> pl.DataFrame:
    """One row an example: `KEYS` and the contract's features, sorted by moment and id."""
    rows = model.rows(tables)
    past = aggregates(rows, model.events(tables), model.contract)
    names = [feature.name for feature in model.contract.features]
    return rows.join(past, on=ID, how="left").select(*KEYS, *names).sort(AT, ID)


def aggregates(rows: pl.DataFrame, events: Mapping[str, pl.DataFrame], contract: Contract) -> pl.DataFrame:
    """Every aggregate feature of `contract` for each of `rows`.

    Args:
        rows: columns `id` (unique), `at` (the moment of prediction) and the entity keys.
        events: stream name -> column `at` (when the event became known), keys and values (integers where
            they are summed, so that running totals are exact).
        contract: declares the aggregates.

    Returns:
        `id` and one column an aggregate feature, sorted by `id`. A mean without values and a latest value
        without events are null; a count or sum is 0.
    """
    wanted: dict[_Group, list[tuple[Feature, Aggregate]]] = defaultdict(list)
    for feature in contract.features:
        spec = feature.aggregate
        if spec is not None:
            wanted[spec.events, spec.by, spec.window_minutes].append((feature, spec))
    if not wanted:
        return rows.select(ID).sort(ID)

    engine = ibis.duckdb.connect()
    # A fixed time zone, so that a moment is the same moment on every machine.
    engine.raw_sql("SET TimeZone='UTC'")
    try:
        keys = sorted({key for _, by, _ in wanted for key in by})
        left = engine.create_table("rows", rows.select(ID, AT, *keys).to_arrow())
        result = rows.select(ID).sort(ID)
        streams = {
            name: engine.create_table(f"events_{name}", events[name].to_arrow())
            for name in sorted({stream for stream, _, _ in wanted})
        }
        for group, features in sorted(wanted.items()):
            table = _window(left, streams[group[0]], group, features)
            result = result.join(pl.from_arrow(table.to_pyarrow()), on=ID, how="left")  # type: ignore[arg-type]
        return result
    finally:
        engine.disconnect()


def _window(
    rows: ir.Table,
    events: ir.Table,
    group: _Group,
    features: Iterable[tuple[Feature, Aggregate]],
) -> ir.Table:
    """The features that share one stream, one key and one window."""
    _, by, window = group
    features = list(features)
    latest = [(feature, spec) for feature, spec in features if spec.statistic == "latest"]
    running = [(feature, spec) for feature, spec in features if spec.statistic != "latest"]
    values = sorted({spec.value for _, spec in running if spec.value})
    totals = _running_totals(events, by, values, [spec.value for _, spec in latest])

    now = _as_of(rows, totals, by, "now")
    span = ibis.interval(minutes=window)
    before = _as_of(rows.mutate(**{AT: rows[AT] - span}), totals, by, "before")
    both = now.join(before, ID)

    def between(column: str) -> ir.Value:
        return both[f"now_{column}"].fill_null(0) - both[f"before_{column}"].fill_null(0)

    count = between("n")
    columns: dict[str, ir.Value] = {}
    for feature, spec in running:
        if spec.statistic == "count":
            columns[feature.name] = count.cast("float64")
        elif spec.statistic == "sum":
            columns[feature.name] = between(f"sum_{spec.value}").cast("float64")
        else:
            known = between(f"known_{spec.value}")
            columns[feature.name] = between(f"sum_{spec.value}").cast("float64") / known.nullif(0)
    for feature, spec in latest:
        columns[feature.name] = ibis.cases((count > 0, both[f"now_last_{spec.value}"].cast("float64")))
    return both.select(ID, **columns)


def _running_totals(events: ir.Table, by: tuple[str, ...], values: list[str], latest: list[str]) -> ir.Table:
    """One row a key and moment: events and sums up to and including it, and the values at it."""
    moments = events.group_by([*by, AT]).agg(
        n=events.count(),
        # An event may lack a value: it is counted, but a mean is over the values that there are.
        **{f"known_{value}": events[value].count() for value in values},
        **{f"sum_{value}": events[value].sum() for value in values},
        # Events of one key at one moment are one fact twice: the larger value, so that order is no matter.
        **{f"last_{value}": events[value].max() for value in latest},
    )
    past = ibis.cumulative_window(group_by=list(by), order_by=AT)
    return moments.mutate(
        n=moments.n.sum().over(past),
        **{
            name: moments[name].sum().over(past)
            for value in values
            for name in (f"known_{value}", f"sum_{value}")
        },
    )


def _as_of(rows: ir.Table, totals: ir.Table, by: tuple[str, ...], prefix: str) -> ir.Table:
    """For each row the totals at its moment: the last ones whose time is not after it."""
    keyed = totals.rename({f"r_{key}": key for key in (*by, AT)})
    joined = rows.asof_join(
        keyed,
        on=rows[AT] >= keyed[f"r_{AT}"],
        predicates=[rows[key] == keyed[f"r_{key}"] for key in by],
    )
    facts = [name for name in totals.columns if name not in {*by, AT}]
    return joined.select(ID, **{f"{prefix}_{name}": joined[name] for name in facts})
