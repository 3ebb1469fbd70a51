"""Rows that lack stored features, filled from the online store as of each row's own moment."""

import threading
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count
from typing import Any, NamedTuple

from contract.schema import Contract
from serving.features.cache import Cache
from serving.features.facts import MINUTE, Fact, microseconds
from serving.features.groups import Plan
from serving.features.lookup import answer, ask
from serving.features.origins import Origins, Records, Wanted, origins
from serving.features.store import NEVER, Ask, Counted, Event, Held, State, Store, StoreError, key_text
from serving.rows import MOST_PROBLEMS, Problem, RowsRefusedError

CACHE_KEYS = 50_000  # about a kilobyte each
CONTRACTS = 64  # more than are ever served at once
PAUSE_S = 1.0  # so long after a failure of the store nobody waits for it again
TRIES = 10  # of a read that a change of the store's state overtakes


@dataclass
class Completed:
    """The rows, with every stored feature in them, and by feature what could not be had."""

    rows: list[Any]
    filled: int = 0  # values that the store gave, null ones included
    missing: Counter[str] = field(default_factory=Counter)  # no key, no record, not materialised, no store
    stale: Counter[str] = field(default_factory=Counter)
    unread: str = ""  # why the store did not answer; what it would have told counts as missing


class Known(NamedTuple):
    """What the store knows of one source and key at a moment."""

    values: Mapping[str, Fact]  # what is missing is not in it
    fresh_to: int  # when its stream or its records were last heard of


NOTHING = Known({}, NEVER)


class Completer:
    """Fills rows and takes in events; safe for threads. One per process, over the store that all share."""

    def __init__(self, store: Store, cache_seconds: float = 1.0, cache_keys: int = CACHE_KEYS) -> None:
        """Read through a cache that holds `cache_keys` keys for `cache_seconds`."""
        self.store, self.cache = store, Cache(cache_seconds, cache_keys)
        self._total, self._rows, self._failures, self._error = Completed([]), 0, 0, ""
        self._origins: dict[int, Origins] = {}
        self._numbers = count()
        self._state: State | None = None
        self._paused_until = float("-inf")
        self._lock = threading.Lock()

    def at_once(self, contract: Contract) -> bool:
        """Whether a few rows of `contract` can be completed on the event loop, as nothing is waited for.

        Not the first ones: a store that has yet to keep their groups waits for writers and reads its log.
        """
        state = self._state
        return (
            self.store.quick and state is not None and self._of(contract).groups.keys() <= state.groups.keys()
        )

    def needed(self, contract: Contract, rows: Sequence[Any], keys: Sequence[Any]) -> bool:
        """Whether a row lacks a stored feature or comes with keys: else there is nothing to complete."""
        stored = [feature.name for feature in self._of(contract).stored]
        return any(item is not None for item in keys) or any(
            name not in row for row in rows if isinstance(row, dict) for name in stored
        )

    def complete(
        self,
        contract: Contract,
        rows: Sequence[Any],
        keys: Sequence[Mapping[str, Fact] | None],
        moments: Sequence[datetime],
        prefix: str = "rows",
    ) -> Completed:
        """`rows` with every stored feature that was absent, each as of its moment. What is no row stays.

        Keys come from the row's own features and, where they are no features, from `keys`. What is missing or
        stale becomes null where it may be. `prefix` names a single row in problems.

        Raises:
            RowsRefusedError: a feature that may not be null is missing or stale, or a key cannot be one.
        """
        known, problems = self._of(contract), list[Problem]()
        places = [prefix if prefix == "row" else f"{prefix}[{index}]" for index in range(len(rows))]
        wanted = [
            known.wanted(row, own, at, place, problems)
            for row, own, at, place in zip(rows, keys, moments, places, strict=True)
        ]
        _refuse(problems)
        found, unread = self._look_up(known, {item for needs in wanted for item in needs.values() if item})
        completed = Completed(list(rows), unread=unread)
        for index, needs in enumerate(wanted):
            if needs:
                origin_of = {
                    source: NOTHING if item is None else found.get(item, NOTHING)
                    for source, item in needs.items()
                }
                at = microseconds(moments[index])
                completed.rows[index] = _fill(known, rows[index], origin_of, at, completed)
                problems += _lacking(known, completed.rows[index], places[index])
        self._count(contract.model, completed, sum(map(bool, wanted)))
        _refuse(problems)
        return completed

    def accept(self, contracts: Sequence[Contract], events: Sequence[Event]) -> Counted:
        """Add `events` to the store, for the features of `contracts` and of all that it knew before.

        Raises:
            EventError: one of them cannot be meant; none was added.
            StoreError: the store does not answer. Whether they were added is unknown; asking again is safe.
        """
        self.store.register([group for contract in contracts for group in self._of(contract).groups.values()])
        counted = self.store.add(events)
        self.cache.clear()  # this process sees what it has taken in
        return counted

    def summary(self) -> dict[str, Any]:
        """What was completed, what could not be, and what the store holds. Asks the store."""
        total = self._total
        found: dict[str, Any] = {
            "rows": self._rows,
            "filled": total.filled,
            "missing": dict(total.missing),
            "stale": dict(total.stale),
            "failures": self._failures,
            "error": self._error,
            "cache": {"keys": len(self.cache), "hits": self.cache.hits, "misses": self.cache.misses},
        }
        try:
            found["streams"] = self.store.counts()
            found["materialised"] = _materialised(self.store.state())
        except StoreError as error:
            found["error"] = str(error)
        return found

    def close(self) -> None:
        """Let go of the store."""
        self.store.close()

    def _of(self, contract: Contract) -> Origins:
        found = self._origins.get(id(contract))  # which is kept alive by what is found
        if found is None or found.contract is not contract:
            with self._lock:
                if len(self._origins) >= CONTRACTS:
                    self._origins.clear()
                found = self._origins[id(contract)] = origins(next(self._numbers), contract)
        return found

    def _look_up(self, known: Origins, wanted: Collection[Wanted]) -> tuple[dict[Wanted, Known], str]:
        """What the cache has, and the rest in one read, or why the store did not answer."""
        found: dict[Wanted, Known] = {}
        for item in wanted:
            kept = self.cache.get((known.number, item.source, item.key), item.moment)
            if kept is not None:
                found[item] = kept
        rest = [item for item in wanted if item not in found]
        if not rest:
            return found, ""
        if self.cache.now() < self._paused_until:
            return found, self._error
        began = self.cache.now()
        try:
            read = self._read(known, rest)
        except StoreError as error:
            self._failures, self._error = self._failures + 1, str(error)
            self._paused_until = self.cache.now() + PAUSE_S
            return found, self._error
        self._error = ""
        for item, value in read.items():
            self.cache.put((known.number, item.source, item.key), item.moment, value, began)
        return {**found, **read}, ""

    def _read(self, known: Origins, wanted: Sequence[Wanted]) -> dict[Wanted, Known]:
        """`wanted` out of one consistent state of the store."""
        for _ in range(TRIES):
            state = self._registered(known)
            if not known.groups.keys() <= state.groups.keys():  # a Redis just lost what it was told
                self._state = None
                continue
            asked, records = _questions(known, wanted, state)
            read = self.store.read(state.epoch, [item[1] for item in asked.values()], records, known.streams)
            if read is None:
                self._state = None
                continue
            answers = dict(zip(asked, read.found, strict=True))
            kept = iter(read.records)
            found: dict[Wanted, Known] = {}
            for item in wanted:
                source = known.sources[item.source]
                if isinstance(source, Records):
                    published = state.records.get(source.table)
                    record = next(kept) if published is not None and item.key is not None else None
                    values = {} if record is None else {n: record[v] for n, v in source.values if v in record}
                    found[item] = Known(values, NEVER if published is None else published.as_of)
                    continue
                held = state.groups[source.id]
                fresh_to = max(held.as_of, read.newest.get(source.group.stream, NEVER))
                if fresh_to == NEVER or not held.ready:
                    found[item] = NOTHING
                elif item.key is None:  # null equals nothing: no events
                    zeros = (0,) * source.group.width
                    found[item] = Known({f.name: f.value(zeros, None) for f in source.features}, fresh_to)
                else:
                    found[item] = Known(answer(source, *asked[item], answers[item]), fresh_to)
            return found
        raise StoreError("the online store changed during every read", "a state that lasts", "Try again")

    def _registered(self, known: Origins) -> State:
        state = self._state or self.store.state()
        if not known.groups.keys() <= state.groups.keys():
            self.store.register(list(known.groups.values()))
            state = self.store.state()
        self._state = state
        return state

    def _count(self, model: str, completed: Completed, rows: int) -> None:
        with self._lock:
            self._rows += rows
            self._total.filled += completed.filled
            for total, counted in (
                (self._total.missing, completed.missing),
                (self._total.stale, completed.stale),
            ):
                for name, times in counted.items():
                    total[f"{model}.{name}"] += times


def _questions(
    known: Origins, wanted: Sequence[Wanted], state: State
) -> tuple[dict[Wanted, tuple[Held, Ask]], list[tuple[str, int, str]]]:
    """What to ask about groups, by what is wanted, and which records to read, in the order of `wanted`."""
    asked: dict[Wanted, tuple[Held, Ask]] = {}
    records = []
    for item in wanted:
        source = known.sources[item.source]
        if item.key is None:
            continue
        if isinstance(source, Plan):
            held = state.groups[source.id]
            asked[item] = held, ask(source, held, key_text(item.key), item.moment)
        elif (published := state.records.get(source.table)) is not None:
            records.append((source.table, published.generation, key_text(item.key)))
    return asked, records


def _fill(
    known: Origins,
    row: dict[str, Any],
    origin_of: Mapping[int, Known],
    at: int,
    completed: Completed,
) -> dict[str, Any]:
    """`row` and its absent stored features, null where they are missing or stale."""
    filled = dict(row)
    for feature in known.stored:
        name = feature.name
        if name in row:
            continue
        values, fresh_to = origin_of[known.source_of[name]]
        filled[name] = None
        if name not in values:
            completed.missing[name] += 1
        elif feature.stale_after_minutes and at - fresh_to > feature.stale_after_minutes * MINUTE:
            completed.stale[name] += 1
        else:
            filled[name] = values[name]
            completed.filled += 1
    return filled


def _lacking(known: Origins, row: dict[str, Any], place: str) -> list[Problem]:
    """The stored features that are null and must not be."""
    return [
        Problem(f"{place}.{feature.name}", "nothing, and the online store has none", "a value")
        for feature in known.stored
        if not feature.nullable and row[feature.name] is None
    ]


def _refuse(problems: Sequence[Problem]) -> None:
    if problems:
        raise RowsRefusedError(problems[:MOST_PROBLEMS])


def _materialised(state: State) -> dict[str, int]:
    """Up to when each group and table was materialised, microseconds."""
    groups = {
        f"{held.group.stream} by {', '.join(held.group.by)}": held.as_of
        for held in state.groups.values()
        if held.generation
    }
    return dict(sorted({**groups, **{name: item.as_of for name, item in state.records.items()}}.items()))
