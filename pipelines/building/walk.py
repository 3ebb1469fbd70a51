"""Features as a server meets them: events and moments of prediction in the order of time, one by one."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from heapq import merge

import polars as pl

from contract.schema import Contract
from serving.features.facts import Fact
from serving.features.online import OnlineFeatures
from training.model import AT, ID

FORGET_EVERY = timedelta(days=1)

Event = tuple[datetime, str, dict[str, Fact]]  # when it became known, its stream, its keys and values


def walk(
    rows: pl.DataFrame, events: Mapping[str, pl.DataFrame], contract: Contract
) -> Iterator[tuple[str, dict[str, float | None]]]:
    """Id and aggregate features of each of `rows`, by moment and id; no event is seen before it is known.

    The arguments and the values are those of `training.features.aggregates`; here what is kept is what the
    longest windows reach, and each event is read once.
    """
    online = OnlineFeatures(contract)
    keys = sorted({key for item in contract.features if item.aggregate for key in item.aggregate.by})
    happened = in_order(events, contract)
    waiting = next(happened, None)
    forgotten = None
    for row in rows.sort(AT, ID).select(ID, AT, *keys).iter_rows(named=True):
        now = row[AT]
        while waiting is not None and waiting[0] <= now:
            at, stream, facts = waiting
            online.observe(stream, at, facts)
            waiting = next(happened, None)
        if forgotten is None or now - forgotten >= FORGET_EVERY:
            online.forget(now)
            forgotten = now
        yield row[ID], online.values(row, now)


def in_order(events: Mapping[str, pl.DataFrame], contract: Contract) -> Iterator[Event]:
    """The events of every stream that `contract` reads, by time, with the keys and values that it reads."""
    read: dict[str, set[str]] = defaultdict(set)
    for feature in contract.features:
        if (spec := feature.aggregate) is not None:
            read[spec.events] |= {*spec.by, *([] if spec.statistic == "count" else [spec.value])}
    streams = [_stream(name, events[name].select(AT, *sorted(words))) for name, words in read.items()]
    return merge(*streams, key=lambda event: event[0])


def _stream(name: str, events: pl.DataFrame) -> Iterator[Event]:
    for event in events.sort(AT).iter_rows(named=True):
        yield event[AT], name, event
