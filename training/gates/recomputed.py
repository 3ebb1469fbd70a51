"""G08's second net: features made again from what was known at the moment of prediction."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec
import polars as pl

from contract.schema import Contract, Feature
from training.features import aggregates
from training.model import AT, ID, Model, Tables

MOMENTS = 40  # drawn from the held-out period; each has a handful of examples
_WORLD = "world"  # the number of a moment: what was known at one must not meet what was known at another


def moments(test: pl.DataFrame, seed: int) -> list[datetime]:
    """Up to `MOMENTS` different moments of prediction among the held-out rows, in order of time."""
    different = test[AT].unique().sort()
    return list(different.sample(min(MOMENTS, len(different)), seed=seed).sort())


def made_again(model: Model, tables: Tables, test: pl.DataFrame, at: list[datetime]) -> pl.DataFrame:
    """`id` and the contract's features of the examples of `test` at the moments `at`.

    Each moment has a world of its own: the raw tables cut to what was known then, and the examples' own rows
    of the tables that `model.requests` names. The model's own `rows` and `events` read nothing else. The
    aggregates of all worlds are then made in one pass by `training.features.aggregates`, the number of the
    world being one more key; of the events only those come along that such an aggregate can reach.
    """
    rows, streams = [], []
    for world, moment in enumerate(at):
        ids = test.filter(pl.col(AT) == moment)[ID].implode()
        known = _world(model, tables, moment, ids)
        tag = pl.lit(world, pl.Int32).alias(_WORLD)
        rows.append(model.rows(known).filter(pl.col(ID).is_in(ids)).with_columns(tag))
        streams.append({name: stream.with_columns(tag) for name, stream in model.events(known).items()})
    every = pl.concat(rows)
    features, events = [], {}
    for (name, by, minutes), group in _groups(model.contract).items():
        reached = (
            _reached(stream[name], moment, minutes, group).join(asked, on=by, how="semi")
            for stream, moment, asked in zip(streams, at, rows, strict=True)
        )
        events[_stream(name, by, minutes)] = pl.concat(reached)
        features += group
    if features:
        part = msgspec.structs.replace(model.contract, features=tuple(features))
        every = every.join(aggregates(every, events, part), on=ID, how="left")
    return every.select(ID, *(feature.name for feature in model.contract.features))


def differing(again: pl.DataFrame, test: pl.DataFrame, contract: Contract) -> dict[str, int]:
    """Feature -> in how many rows of `again` it is not what `test` says; those that never differ left out.

    Equal is equal to the last bit: both are made by the same code from the same rows.
    """
    names = [feature.name for feature in contract.features]
    both = again.join(test.select(ID, *(pl.col(name).alias(f"test_{name}") for name in names)), on=ID)
    counts = both.select(pl.col(name).ne_missing(pl.col(f"test_{name}")).sum() for name in names).row(0)
    return {name: count for name, count in zip(names, counts, strict=True) if count}


def _world(model: Model, tables: Tables, moment: datetime, ids: pl.Series) -> dict[str, pl.DataFrame]:
    known = model.known(tables, moment)
    for name in model.requests:
        own = tables[name].filter(pl.col(ID).is_in(ids))
        known[name] = pl.concat([known[name].filter(~pl.col(ID).is_in(ids)), own])
    return known


def _reached(
    stream: pl.DataFrame, moment: datetime, minutes: int, features: Sequence[Feature]
) -> pl.DataFrame:
    """Of one world's `stream` what `features` with a window of `minutes` (0: from the first event) read.

    A total does not ask when within the window its events were: all become one moment, which is quicker.
    """
    specs = [feature.aggregate for feature in features if feature.aggregate is not None]
    if minutes:
        stream = stream.filter(pl.col(AT) > moment - timedelta(minutes=minutes))
    if all(spec.statistic != "latest" for spec in specs):
        stream = stream.with_columns(pl.max_horizontal(AT, pl.lit(moment)))
    values = {spec.value for spec in specs if spec.statistic != "count"}
    return stream.select(*specs[0].by, *sorted(values), AT)


def _groups(contract: Contract) -> dict[tuple[str, tuple[str, ...], int], list[Feature]]:
    """(stream, keys, window in minutes) -> its features, with the number of the world as one more key."""
    found: dict[tuple[str, tuple[str, ...], int], list[Feature]] = {}
    for feature in contract.features:
        spec = feature.aggregate
        if spec is not None:
            own = _stream(spec.events, spec.by, spec.window_minutes)
            apart = msgspec.structs.replace(spec, by=(*spec.by, _WORLD), events=own)
            group = found.setdefault((spec.events, spec.by, spec.window_minutes), [])
            group.append(msgspec.structs.replace(feature, aggregate=apart))
    return found


def _stream(name: str, by: tuple[str, ...], minutes: int) -> str:
    """What one group's events are called: another group of the same stream reads others."""
    return f"{name} {' '.join(by)} {minutes}"
