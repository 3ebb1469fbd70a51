"""The segment of the prediction log that answers become: `contract.log_layout`, as a Parquet file."""

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import chain, repeat
from operator import attrgetter, is_, itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.log_layout import FEATURE_PREFIX, SCORE_PREFIX, log_kinds
from contract.schema import Contract
from serving.recording import parquet
from serving.recording.answered import Answered, Matrices, Numbered
from serving.recording.parquet import Column, Part
from serving.rows import Value

_EPOCH, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)


def segment(answers: Sequence[Answered]) -> list[Part]:
    """The parts of the file that holds `answers`, all of one contract; joined they are it.

    It runs beside the event loop, which has to wait while Python code runs here, once for each of
    `sys.getswitchinterval`: hence whole matrices in few calls, and nothing for each value.
    """
    contract = answers[0].contract
    sizes = [len(item.request_ids) for item in answers]
    made = dict(chain(_facts(answers, sizes), _features(contract, answers), _answers(contract, answers)))
    return parquet.file([(name, made[name]) for name in log_kinds(contract)], sum(sizes))


def _facts(answers: Sequence[Answered], sizes: list[int]) -> Iterator[tuple[str, Column]]:
    rows = sum(sizes)

    def each(values: Iterable[str]) -> Column:
        known = list(values)
        if len(set(known)) == 1:  # nearly always
            return parquet.constant(known[0], rows)
        return parquet.texts(
            list(chain.from_iterable([value] * size for value, size in zip(known, sizes, strict=True)))
        )

    ids = list(map(attrgetter("request_ids"), answers))
    if set(map(type, ids)) == {Numbered}:
        yield "request_id", parquet.numbered([(many.request_id, many.size) for many in ids])
    else:
        yield "request_id", parquet.unlike(_flat(answers, "request_ids"))
    yield "entity_id", parquet.texts(_flat(answers, "entity_ids"))
    yield "model", parquet.constant(answers[0].contract.model, rows)
    yield "version", each(map(attrgetter("version"), answers))
    yield "digest", each(map(attrgetter("digest"), answers))
    yield "role", each(map(attrgetter("role"), answers))
    received = parquet.moments(np.repeat(_moments(map(attrgetter("received_at"), answers)), sizes))
    yield "received_at", received
    now = all(item.event_times.count(item.received_at) == len(item.event_times) for item in answers)
    yield "event_time", received if now else parquet.moments(_moments(_flat(answers, "event_times")))
    latencies = np.fromiter(map(attrgetter("latency_ms"), answers), np.float64, len(answers))
    yield "latency_ms", parquet.numbers(np.repeat(latencies, sizes))
    if _nobody(answers, "keys"):
        yield "keys", parquet.constant(None, rows)
    else:
        yield "keys", parquet.texts(list(chain.from_iterable(map(_keys, answers, sizes))))
    if _nobody(answers, "filled"):
        yield "filled", parquet.lists((), rows)
    else:
        filled = map(_filled, answers, sizes)
        yield "filled", parquet.lists(chain.from_iterable(filled), rows)


def _nobody(answers: Sequence[Answered], name: str) -> bool:
    """Whether none of `answers` holds anything under `name`: nearly always."""
    return all(map(is_, map(attrgetter(name), answers), repeat(None)))


def _flat(answers: Sequence[Answered], name: str) -> list[Any]:
    """What each of `answers` holds under `name`, a list with one item a row, as one list."""
    return list(chain.from_iterable(map(attrgetter(name), answers)))


def _moments(moments: Iterable[datetime]) -> NDArray[np.int64]:
    """Microseconds since the epoch; those of one request often share one object."""
    found: list[int] = []
    last, since = None, 0
    for moment in moments:
        if moment is not last:
            last, since = moment, (moment - _EPOCH) // _MICROSECOND
        found.append(since)
    return np.array(found, np.int64)


def _keys(item: Answered, size: int) -> list[str | None]:
    if item.keys is None:
        return [None] * size
    return [json.dumps(dict(keys), sort_keys=True) if keys else None for keys in item.keys]


def _filled(item: Answered, size: int) -> Sequence[Sequence[str]]:
    return [()] * size if item.filled is None else item.filled


def _features(contract: Contract, answers: Sequence[Answered]) -> Iterator[tuple[str, Column]]:
    values = list(map(attrgetter("values"), answers))
    if set(map(type, values)) == {Matrices}:
        yield from _columns(contract, values)
        return
    names = [feature.name for feature in contract.features]
    ordered = itemgetter(*names) if len(names) > 1 else lambda row: (row[names[0]],)
    rows: list[tuple[Value, ...]] = []
    for held in values:
        rows += [row if isinstance(row, tuple) else ordered(row) for row in held]
    for index, feature in enumerate(contract.features):
        column = list(map(itemgetter(index), rows))
        if feature.kind == "number":
            numbers = np.array(column, np.float64)  # None becomes NaN
            yield FEATURE_PREFIX + feature.name, _numbers(numbers, np.isnan(numbers))
        else:
            yield FEATURE_PREFIX + feature.name, parquet.texts(column)


def _columns(contract: Contract, held: Sequence[Matrices]) -> Iterator[tuple[str, Column]]:
    """The features of `held`, column by column."""
    numbers = np.ascontiguousarray(_joined([item.numbers for item in held], np.float64).T)
    missing = np.isnan(numbers)
    for feature, column, absent in zip(contract.numbers, numbers, missing, strict=True):
        yield FEATURE_PREFIX + feature.name, _numbers(column, absent)
    words = [item.words for item in held if item.words is not None]
    for feature, texts in zip(contract.categories, np.concatenate(words).T if words else (), strict=True):
        yield FEATURE_PREFIX + feature.name, parquet.texts(texts.tolist(), null="")


def _numbers(values: NDArray[np.float64], missing: NDArray[np.bool_]) -> Column:
    return parquet.numbers(values, missing if missing.any() else None)


def _answers(contract: Contract, answers: Sequence[Answered]) -> Iterator[tuple[str, Column]]:
    labels = _joined([item.labels for item in answers], np.int64)
    yield "label", parquet.chosen(contract.classes, labels)
    scores = _joined([item.scores for item in answers], np.float32).T.astype(np.float64, order="C")
    for name, column in zip(contract.classes, scores, strict=True):
        yield SCORE_PREFIX + name, parquet.numbers(column)


def _joined(arrays: Sequence[NDArray[Any]], kind: Any) -> NDArray[Any]:
    """The arrays, all of that kind, one below the other.

    As bytes they are joined in a quarter of the time that numpy takes for thousands of small ones.

    Raises:
        ValueError: one is of another kind.
    """
    if arrays[0].dtype != kind:
        raise ValueError(f"{arrays[0].dtype} in the place of {np.dtype(kind)}")
    data = b"".join(map(np.ascontiguousarray, arrays))  # type: ignore[arg-type]  # it takes them
    return np.frombuffer(data, kind).reshape(sum(map(len, arrays)), *arrays[0].shape[1:])
