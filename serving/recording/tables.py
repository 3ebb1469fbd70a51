"""The segment of the prediction log that answers become: `contract.log_layout`, as a Parquet file."""

import json
from collections.abc import Iterator, Sequence
from itertools import chain, repeat
from operator import attrgetter, is_, itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.log_layout import FEATURE_PREFIX, SCORE_PREFIX, log_kinds
from contract.schema import Contract
from serving.recording import columns, parquet
from serving.recording.answered import Answered, Matrices, Numbered
from serving.recording.columns import Column, Part, spans
from serving.recording.gathered import Gathered
from serving.recording.slices import Steps, at_once
from serving.rows import Value

FEW = 64  # answers, up to which a look at each costs less than to join them first


def segment(answers: Sequence[Answered | Gathered]) -> list[Part]:
    """The parts of the file that holds `answers`, all of one contract; joined they are it."""
    return at_once(steps(answers))


def steps(answers: Sequence[Answered | Gathered]) -> Steps[list[Part]]:
    """The same, step by step: what somebody who asks meanwhile waits for.

    Hence few calls for all values of a column, and nothing for each of them.
    """
    contract = answers[0].contract
    sizes = [len(item.request_ids) for item in answers]
    made: dict[str, Column] = {}
    yield from _facts(made, answers, sizes)
    yield from _features(made, answers)
    yield from _answers(made, answers)
    return (yield from parquet.steps([(name, made[name]) for name in log_kinds(contract)], sum(sizes)))


def _facts(made: dict[str, Column], answers: Sequence[Answered | Gathered], sizes: list[int]) -> Steps[None]:
    rows = sum(sizes)
    ids = list(map(attrgetter("request_ids"), answers))
    if set(map(type, ids)) == {Numbered}:
        made["request_id"] = columns.numbered([(many.request_id, many.size) for many in ids])
    else:
        flat = _flat(answers, "request_ids")
        yield
        made["request_id"] = yield from columns.unlike(flat)
    entities = _flat(answers, "entity_ids")
    yield
    made["entity_id"] = yield from columns.texts(entities)
    made["model"] = columns.constant(answers[0].contract.model, rows)
    for name in ("version", "digest", "role"):
        yield
        values = list(map(attrgetter(name), answers))
        if len(set(values)) == 1:  # nearly always
            made[name] = columns.constant(values[0], rows)
        else:
            each = chain.from_iterable([value] * size for value, size in zip(values, sizes, strict=True))
            made[name] = yield from columns.texts(list(each))
    yield
    runs = yield from _values(answers, "sizes", np.int64)
    received = yield from _values(answers, "received", np.int64)
    made["received_at"] = columns.moments(np.repeat(received, runs))
    yield
    made["event_time"] = columns.moments((yield from _values(answers, "happened", np.int64)))
    yield
    latencies = yield from _values(answers, "latencies_ms", np.float64)
    made["latency_ms"] = columns.numbers(np.repeat(latencies, runs))
    yield
    if _nobody(answers, "keys"):
        made["keys"] = columns.constant(None, rows)
    else:
        made["keys"] = yield from columns.texts(list(chain.from_iterable(map(_keys, answers, sizes))))
    if _nobody(answers, "filled"):
        made["filled"] = columns.lists((), rows)
    else:
        yield
        made["filled"] = columns.lists(chain.from_iterable(map(_filled, answers, sizes)), rows)


def _nobody(answers: Sequence[Answered | Gathered], name: str) -> bool:
    """Whether none of `answers` holds anything under `name`: nearly always."""
    return all(map(is_, map(attrgetter(name), answers), repeat(None)))


def _flat(answers: Sequence[Answered | Gathered], name: str) -> list[Any]:
    """What each of `answers` holds under `name`, a list, as one list."""
    return list(chain.from_iterable(map(attrgetter(name), answers)))


def _values(answers: Sequence[Answered | Gathered], name: str, kind: Any) -> Steps[NDArray[Any]]:
    """What each of `answers` holds under `name`, numbers, as one array."""
    parts = []
    for item in answers:
        parts.append(np.asarray(getattr(item, name), kind))
        yield
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _keys(item: Answered | Gathered, size: int) -> list[str | None]:
    if item.keys is None:
        return [None] * size
    return [json.dumps(dict(keys), sort_keys=True) if keys else None for keys in item.keys]


def _filled(item: Answered | Gathered, size: int) -> Sequence[Sequence[str]]:
    return [()] * size if item.filled is None else item.filled


def _features(made: dict[str, Column], answers: Sequence[Answered | Gathered]) -> Steps[None]:
    contract = answers[0].contract
    if all(isinstance(item, Gathered) or type(item.values) is Matrices for item in answers):
        yield from _columns(made, contract, answers)
        return
    names = [feature.name for feature in contract.features]
    ordered = itemgetter(*names) if len(names) > 1 else lambda row: (row[names[0]],)
    rows: list[tuple[Value, ...]] = []
    for item in answers:
        rows += [row if isinstance(row, tuple) else ordered(row) for row in item.values]
    for index, feature in enumerate(contract.features):
        yield
        column = list(map(itemgetter(index), rows))
        if feature.kind == "number":
            made[FEATURE_PREFIX + feature.name] = _numbers(np.array(column, np.float64))  # None becomes NaN
        else:
            made[FEATURE_PREFIX + feature.name] = yield from columns.texts(column)


def _columns(
    made: dict[str, Column], contract: Contract, answers: Sequence[Answered | Gathered]
) -> Steps[None]:
    """The features of `answers` that hold them by column."""
    held: list[Any] = [item if isinstance(item, Gathered) else item.values for item in answers]
    if len(held) > FEW:
        held = [_one(contract, [item.values if isinstance(item, Gathered) else item for item in held])]
    for feature, parts in zip(contract.numbers, _by_column([item.numbers for item in held]), strict=True):
        yield
        made[FEATURE_PREFIX + feature.name] = _numbers(np.concatenate(parts))
    sizes = [len(item.numbers) for item in held]
    for index, feature in enumerate(contract.categories):
        texts: list[str] = []
        for item, size in zip(held, sizes, strict=True):
            for rows in spans(size):
                texts += item.texts(index, rows)
                yield
        made[FEATURE_PREFIX + feature.name] = yield from columns.texts(texts, null="")


def _one(contract: Contract, held: Sequence[Matrices]) -> Matrices:
    """The rows of all of them."""
    words = [item.words for item in held if item.words is not None]
    numbers = _joined([item.numbers for item in held], np.float64)
    return Matrices(contract, numbers, np.concatenate(words) if words else None)


def _by_column(matrices: Sequence[NDArray[Any]]) -> Iterator[tuple[NDArray[Any], ...]]:
    """Each column of all `matrices`, in their parts."""
    return zip(*(matrix.T for matrix in matrices), strict=True)


def _numbers(values: NDArray[np.float64]) -> Column:
    missing = np.isnan(values)
    return columns.numbers(values, missing if missing.any() else None)


def _answers(made: dict[str, Column], answers: Sequence[Answered | Gathered]) -> Steps[None]:
    contract = answers[0].contract
    yield
    made["label"] = columns.chosen(contract.classes, _joined([item.labels for item in answers], np.int64))
    yield
    scores = _joined([item.scores for item in answers], np.float32)
    for name, column in zip(contract.classes, scores.T, strict=True):
        yield
        made[SCORE_PREFIX + name] = columns.numbers(column.astype(np.float64))
    yield


def _joined(arrays: Sequence[NDArray[Any]], kind: Any) -> NDArray[Any]:
    """The arrays, all of that kind, one below the other.

    As bytes they are joined in a quarter of the time that numpy takes for thousands of small ones.

    Raises:
        ValueError: one is of another kind.
    """
    if arrays[0].dtype != kind:
        raise ValueError(f"{arrays[0].dtype} in the place of {np.dtype(kind)}")
    if len(arrays) == 1:
        return arrays[0]
    data = b"".join(map(np.ascontiguousarray, arrays))  # type: ignore[arg-type]  # it takes them
    return np.frombuffer(data, kind).reshape(sum(map(len, arrays)), *arrays[0].shape[1:])
