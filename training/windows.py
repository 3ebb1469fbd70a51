"""Windows over one stream and one key, as Ibis expressions: running totals and as-of joins.

A module of its own: Ibis takes a fifth of a second to import, and a model without history never needs it.
"""

from collections.abc import Sequence

import ibis
import ibis.expr.types as ir
from ibis.backends import BaseBackend

from contract.schema import Aggregate, Feature
from training.model import AT

ROW = "row"  # the number of a row, where its id would be carried along
MINUTE = 60_000_000  # microseconds

Past = tuple[Feature, Aggregate]


def group(engine: BaseBackend, by: tuple[str, ...], features: Sequence[Past]) -> ir.Table:
    """The features that share one stream and one key: one look-up at the moment, and one a window before."""
    totals = engine.create_table(
        "totals", running_totals(engine.table("events"), by, features), overwrite=True
    )
    rows = engine.table("rows").select(ROW, AT, *by)
    found = _as_of(rows, totals, by, 0)
    for window in sorted({spec.window_minutes for _, spec in features if not spec.endless}):
        found = _as_of(found, totals, by, window)
    return found.select(ROW, **{feature.name: _statistic(found, spec) for feature, spec in features})


def running_totals(events: ir.Table, by: tuple[str, ...], features: Sequence[Past]) -> ir.Table:
    """One row a key and moment: events and sums up to and including it, and the values at it.

    Columns: `by`, `at`, `n`, and for each value `known_VALUE` and `sum_VALUE`, or `last_VALUE`.
    """
    values = sorted({spec.value for _, spec in features if spec.statistic in ("mean", "sum")})
    latest = sorted({spec.value for _, spec in features if spec.statistic == "latest"})
    moments = events.group_by([*by, AT]).agg(
        n=events.count(),
        # An event may lack a value: it is counted, but a mean is over the values that there are.
        **{f"known_{value}": events[value].count() for value in values},
        **{f"sum_{value}": events[value].sum().cast("int64") for value in values},
        # Events of one key at one moment are one fact twice: the larger value, so that order is no matter.
        **{f"last_{value}": events[value].max() for value in latest},
    )
    past = ibis.cumulative_window(group_by=list(by), order_by=AT)
    sums = ["n", *(f"{fact}_{value}" for value in values for fact in ("known", "sum"))]
    # The engine would widen each sum to 128 bits.
    return moments.mutate(**{name: moments[name].sum().over(past).cast("int64") for name in sums})


def _as_of(rows: ir.Table, totals: ir.Table, by: tuple[str, ...], window: int) -> ir.Table:
    """`rows` and the last totals of each a `window` of minutes before its moment, named `TOTAL_WINDOW`."""
    right = totals.rename({f"{name}_{window}": name for name in totals.columns})
    left = rows.mutate(then=rows[AT] - window * MINUTE)
    joined = left.asof_join(
        right,
        on=left["then"] >= right[f"{AT}_{window}"],
        predicates=[left[key] == right[f"{key}_{window}"] for key in by],
    )
    facts = [f"{name}_{window}" for name in totals.columns if name not in by and name != AT]
    return joined.select(*rows.columns, *facts)


def _statistic(found: ir.Table, spec: Aggregate) -> ir.Value:
    """One feature, float64, out of the totals at the moment and those a window before it."""

    def between(total: str) -> ir.Value:
        now = found[f"{total}_0"].fill_null(0)
        return now if spec.endless else now - found[f"{total}_{spec.window_minutes}"].fill_null(0)

    if spec.statistic == "count":
        return between("n").cast("float64")
    if spec.statistic == "latest":
        return ibis.cases((between("n") > 0, found[f"last_{spec.value}_0"].cast("float64")))
    total = between(f"sum_{spec.value}").cast("float64")
    return total if spec.statistic == "sum" else total / between(f"known_{spec.value}").nullif(0)
