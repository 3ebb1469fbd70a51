"""Features as a server meets them: events and moments of prediction in the order of time, one by one."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from heapq import merge
from typing import Any

import polars as pl

from contract.schema import Contract
from serving.features.online import OnlineFeatures
from training.model import AT, ID

FORGET_EVERY = timedelta(days=1)


def walk(
    rows: pl.DataFrame, events: Mapping[str, pl.DataFrame], contract: Contract
) -> Iterator[tuple[str, dict[str, float | None]]]:
    """Id and aggregate features of each of `rows`, by moment and id; no event is seen before it is known.

    The arguments and the values are those of `training.features.aggregates`; here what is kept is what the
    longest windows reach, and each event is read once.
    """
    online = OnlineFeatures(contract)
    keys = sorted({key for item in contract.features if item.aggregate for key in item.aggregate.by})
    read = {
        name: {
            word
            for feature in contract.features
            if (spec := feature.aggregate) is not None and spec.events == name
            for word in (*spec.by, *([spec.value] if spec.statistic != "count" else []))
        }
        for name in online.streams
    }
    happened = merge(
        *(_in_order(name, events[name].select(AT, *sorted(words))) for name, words in read.items()),
        key=lambda event: event[0],
    )
    waiting = next(happened, None)
    forgotten = None
    for row in rows.sort(AT, ID).select(ID, AT, *keys).iter_rows(named=True):
        at = row[AT]
        while waiting is not None and waiting[0] <= at:
            online.observe(waiting[1], waiting[0], waiting[2])
            waiting = next(happened, None)
        if forgotten is None or at - forgotten >= FORGET_EVERY:
            online.forget(at)
            forgotten = at
        yield row[ID], online.values(row, at)


def _in_order(name: str, events: pl.DataFrame) -> Iterator[tuple[Any, str, dict[str, Any]]]:
    for event in events.sort(AT).iter_rows(named=True):
        yield event[AT], name, event
