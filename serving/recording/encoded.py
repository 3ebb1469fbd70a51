"""Long runs as the pages that their rows become, made at once.

A second later the run's arrays have left the processor's cache, and to look at them again costs more than to
encode them. A segment is then little more than a footer.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from contract.log_layout import FEATURE_PREFIX, SCORE_PREFIX, log_kinds
from serving.recording import columns, pages, parquet
from serving.recording.answered import Answered, Matrices, Numbered, microseconds
from serving.recording.columns import MOST_WORDS, Column, Part
from serving.recording.dictionaries import Dictionaries, Dictionary
from serving.recording.pages import Chunk, Page
from serving.recording.slices import Steps, at_once

LEAST_ROWS = 256  # of a run, below which its pages would cost more than they spare


class Features(NamedTuple):
    """The features of one long run as pages, by column."""

    pages: dict[str, Page]
    dictionaries: Dictionaries


class Encoded:
    """One long run."""

    __slots__ = ("contract", "dictionaries", "digest", "pages", "received_at", "rows", "size")

    def __init__(self, item: Answered, features: Features) -> None:
        """Encode `item`, of which these are the features."""
        self.contract, self.digest, self.received_at = item.contract, item.digest, item.received_at
        self.dictionaries, self.rows = features.dictionaries, len(item.request_ids)
        made = features.pages | _pages(item, features.dictionaries)
        self.pages = [made[name] for name in log_kinds(item.contract)]
        self.size = sum(page.size for page in self.pages)

    def __len__(self) -> int:
        """How many rows."""
        return self.rows

    @staticmethod
    def may_hold(item: Answered) -> bool:
        """Whether a run is encoded: a long one, by column, with nothing beside its rows but ids of all."""
        return (
            len(item.request_ids) >= LEAST_ROWS
            and item.keys is None
            and item.filled is None
            and item.entity_ids.count(None) in {0, len(item.entity_ids)}
            and len(item.contract.classes) <= MOST_WORDS
        )


def join(runs: Sequence[Encoded]) -> Steps[list[Part]]:
    """The parts of the file that holds `runs`, all of one contract, step by step."""
    first, chunks = runs[0], list[tuple[str, Column | Chunk]]()
    for place, (name, kind) in enumerate(log_kinds(first.contract).items()):
        words, distinct = first.dictionaries[name].parts() if kind == "text" else ((), 0)
        chunks.append((name, Chunk(kind, [run.pages[place] for run in runs], words, distinct)))
    yield
    return (yield from parquet.steps(chunks, sum(run.rows for run in runs)))


def encode_features(values: Matrices, dictionaries: Dictionaries) -> Features:
    """Those of a run, best before it: a walk through all trees leaves little else in the cache."""
    contract, rows = values.contract, len(values)
    made: dict[str, Page] = {}
    for index, feature in enumerate(contract.categories):
        name = FEATURE_PREFIX + feature.name
        texts = values.texts(index, slice(0, rows))
        made[name] = _texts(texts, dictionaries[name], nullable=feature.nullable)
    names = [FEATURE_PREFIX + feature.name for feature in contract.numbers]
    return Features(made | _numbers(names, values.numbers.T), dictionaries)


def _pages(item: Answered, dictionaries: Dictionaries) -> dict[str, Page]:
    """All other columns."""
    contract, rows = item.contract, len(item.request_ids)
    moments = np.full(rows, microseconds(item.received_at)), item.happened
    made = {
        "request_id": _page(_ids(item)),
        "entity_id": _null(rows) if item.entity_ids[0] is None else _page(_spelled(item.entity_ids)),
        "received_at": _page(columns.moments(moments[0])),
        "event_time": _page(columns.moments(moments[1])),
        "latency_ms": _page(columns.numbers(np.full(rows, item.latency_ms))),
        "keys": _null(rows),
        "filled": _page(columns.lists((), rows)),
        "label": _page(columns.indexed(item.labels.astype(np.uint8)), worded=True),
    }
    for name, value in (
        ("model", contract.model),
        ("version", item.version),
        ("digest", item.digest),
        ("role", item.role),
    ):
        made[name] = _same(value, rows, dictionaries[name])
    return made | _numbers([SCORE_PREFIX + name for name in contract.classes], item.scores.T)


def _numbers(names: Sequence[str], matrix: NDArray[Any]) -> dict[str, Page]:
    each = columns.each_numbers(np.ascontiguousarray(matrix, np.float64))
    return {name: _page(column) for name, column in zip(names, each, strict=True)}


def _ids(item: Answered) -> Column:
    ids = item.request_ids
    return columns.numbered([(ids.request_id, ids.size)]) if isinstance(ids, Numbered) else _spelled(ids)


def _spelled(values: Sequence[str | None]) -> Column:
    return at_once(columns.unlike(values))  # type: ignore[arg-type]  # joining them finds what is none


def _same(value: str, rows: int, words: Dictionary) -> Page:
    index = words.indices([value])
    return _page(_spelled([value] * rows)) if index is None else _indexed_alike(int(index[0]), rows)


def _texts(values: list[str], words: Dictionary, *, nullable: bool) -> Page:
    """Categories of some rows; missing is ""."""
    rows, here = len(values), None
    if nullable and "" in values:
        here = np.fromiter(map(bool, values), np.uint8, rows)
        values = [value for value in values if value]
        if not values:  # indices mean nothing where there may be no dictionary
            return _null(rows)
    indices = words.indices(values)
    if indices is None:
        return _page(at_once(columns.unlike(values, here)))
    return _page(columns.indexed(indices, here), worded=True)


@lru_cache(maxsize=64)  # callers send batches of few sizes
def _null(rows: int) -> Page:
    return _page(columns.constant(None, rows))


@lru_cache(maxsize=256)
def _indexed_alike(index: int, rows: int) -> Page:
    return _page(columns.indexed(np.full(rows, index, np.uint8)), worded=True)


def _page(column: Column, *, worded: bool = False) -> Page:
    return pages.page(column, worded=worded).joined()
