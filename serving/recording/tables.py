"""The table of the prediction log that answers become.

Imported by the thread that writes: Polars takes a quarter of a second, for which nobody has to wait who asks
a service that has just started.
"""

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import chain
from operator import itemgetter
from typing import Any

import numpy as np
import polars as pl

from contract.predictions import COLUMNS, FEATURE_PREFIX, SCORE_PREFIX, log_schema
from contract.schema import Contract
from serving.recording.answered import Answered, Matrices
from serving.rows import Value

# Seconds that a column's maker leaves the interpreter to the event loop, which may have a turn's requests to
# answer: several in a row would keep it for the whole of a segment, since it asks for it at each system call.
REST = 0.001
_EPOCH, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)


def table(answers: Sequence[Answered]) -> pl.DataFrame:
    """`answers`, all of one contract, in the layout of the log (rows, columns of `log_schema`).

    It runs beside the event loop, which has to wait while Python code runs here: hence one short call a
    column, and the interpreter is handed over after each that takes its time.
    """
    contract, layout = answers[0].contract, log_schema(answers[0].contract)
    made = {}
    for name, values in chain(_facts(answers), _features(contract, answers), _answers(contract, answers)):
        # Moments come as microseconds, which is a fifth of the time.
        kind = pl.Int64() if isinstance(layout[name], pl.Datetime) else layout[name]
        if isinstance(values, pl.Series):
            made[name] = values.cast(layout[name])
        else:
            made[name] = pl.Series(name, values, kind).cast(layout[name])
            time.sleep(REST)
    return pl.DataFrame({name: made[name] for name in layout})


def _facts(answers: Sequence[Answered]) -> Iterator[tuple[str, Any]]:
    sizes = [len(item.request_ids) for item in answers]

    def each(name: str, values: list[str]) -> Any:
        if len(set(values)) == 1:  # nearly always, and a text a row takes its time
            return _all(name, values[0], sum(sizes))
        return list(chain.from_iterable([value] * size for value, size in zip(values, sizes, strict=True)))

    yield "request_id", list(chain.from_iterable(item.request_ids for item in answers))
    yield "entity_id", list(chain.from_iterable(item.entity_ids for item in answers))
    yield "model", each("model", [item.contract.model for item in answers])
    yield "version", each("version", [item.version for item in answers])
    yield "digest", each("digest", [item.digest for item in answers])
    yield "role", each("role", [item.role for item in answers])
    yield "received_at", _microseconds(chain.from_iterable(item.received_at for item in answers))
    yield "event_time", _microseconds(chain.from_iterable(item.event_times for item in answers))
    yield "latency_ms", list(chain.from_iterable(item.latency_ms for item in answers))
    if all(item.keys is None for item in answers):
        yield "keys", _all("keys", None, sum(sizes))
    else:
        yield "keys", list(chain.from_iterable(map(_keys, answers, sizes)))
    yield "filled", _filled(answers, sizes)


def _all(name: str, value: Any, size: int) -> pl.Series:
    """A column of the log that holds one value `size` times."""
    return pl.Series(name, [value], COLUMNS[name]).new_from_index(0, size)


def _microseconds(moments: Iterable[datetime]) -> list[int]:
    """Since the epoch; those that arrived in one turn of the loop share one object."""
    found: list[int] = []
    last, since = None, 0
    for moment in moments:
        if moment is not last:
            last, since = moment, (moment - _EPOCH) // _MICROSECOND
        found.append(since)
    return found


def _keys(item: Answered, size: int) -> list[str | None]:
    if item.keys is None:
        return [None] * size
    return [json.dumps(dict(keys), sort_keys=True) if keys else None for keys in item.keys]


def _filled(answers: Sequence[Answered], sizes: list[int]) -> pl.Series | list[list[str]]:
    if all(item.filled is None for item in answers):  # nearly always, and a list a row takes 4 µs
        return _all("filled", [], sum(sizes))
    return [
        list(names)
        for item, size in zip(answers, sizes, strict=True)
        for names in (item.filled if item.filled is not None else [()] * size)
    ]


def _features(contract: Contract, answers: Sequence[Answered]) -> Iterator[tuple[str, Any]]:
    held = [item.values for item in answers if isinstance(item.values, Matrices)]
    if len(held) == len(answers):
        yield from _columns(contract, held)
        return
    names = [feature.name for feature in contract.features]
    ordered = itemgetter(*names) if len(names) > 1 else lambda row: (row[names[0]],)
    rows: list[tuple[Value, ...]] = []
    for item in answers:
        rows += [row if isinstance(row, tuple) else ordered(row) for row in item.values]
    for index, name in enumerate(names):
        yield FEATURE_PREFIX + name, list(map(itemgetter(index), rows))


def _columns(contract: Contract, held: Sequence[Matrices]) -> Iterator[tuple[str, Any]]:
    """The features of `held`, column by column."""
    columns = np.concatenate([item.numbers.T for item in held], axis=1)
    names = [FEATURE_PREFIX + feature.name for feature in contract.numbers]
    # In one call for all of them: each takes longer to begin than to do.
    numbers = pl.DataFrame(dict(zip(names, columns, strict=True))).fill_nan(None)
    matrices = [item.words for item in held if item.words is not None]
    words: Iterator[Any] = iter(np.concatenate(matrices).T if matrices else ())
    for feature in contract.features:
        name = FEATURE_PREFIX + feature.name
        if feature.kind == "number":
            yield name, numbers[name]
        else:
            yield name, [word or None for word in next(words).tolist()]


def _answers(contract: Contract, answers: Sequence[Answered]) -> Iterator[tuple[str, Any]]:
    classes = pl.Series("label", list(contract.classes), pl.String())
    yield "label", classes.gather(np.concatenate([item.labels for item in answers]))
    scores = np.concatenate([item.scores for item in answers]).astype(np.float64)
    for index, name in enumerate(contract.classes):
        yield SCORE_PREFIX + name, np.ascontiguousarray(scores[:, index])
