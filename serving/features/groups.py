"""What a contract's aggregates have in common: groups of features over one stream and one key.

A group's id says what is kept for it and nothing of windows, so that versions of a model share what they can.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import msgspec

from contract.schema import Aggregate, Contract
from serving.features.facts import MINUTE, Fact, Key, read_key, read_number, read_value

Latest: TypeAlias = tuple[float | None, ...]
Totals: TypeAlias = tuple[int, ...]


class Group(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is kept of a stream by one key.

    Totals are: all events, then for each summed value how many had it and their sum; beside them stand the
    latest values. Each in the order of the names here.
    """

    stream: str
    by: tuple[str, ...]
    summed: tuple[str, ...]
    latest: tuple[str, ...]

    @property
    def id(self) -> str:
        """A name that is safe in a table's or a key's name; equal groups, and only they, have equal ones."""
        return hashlib.sha256(msgspec.json.encode(self)).hexdigest()[:16]

    @property
    def width(self) -> int:
        """How many totals there are."""
        return 1 + 2 * len(self.summed)

    def read(self, facts: Mapping[str, Fact]) -> tuple[Key | None, Totals, Latest]:
        """An event's key, what it adds to the totals, and its latest values.

        Raises:
            FlightlineError: a key or value is absent or of the wrong type.
        """
        numbers = [1]
        for name in self.summed:
            value = read_number(self.stream, name, facts)
            numbers += (0, 0) if value is None else (1, value)
        latest = tuple(read_value(self.stream, name, facts) for name in self.latest)
        return read_key(self.stream, self.by, facts), tuple(numbers), latest


@dataclass(frozen=True)
class Windowed:
    """What one feature takes out of its group's totals."""

    name: str
    statistic: str
    column: int  # of the totals (a mean's count stands before its sum), or of the latest values
    window: int  # microseconds; 0 reaches back to the first event
    batch: bool  # needs what was materialised

    def value(self, totals: Totals, latest: Latest | None) -> float | None:
        """The feature, from the totals inside its window and the latest values there, None without an event.

        Whole numbers are divided once, so that it equals the offline value to the last bit.
        """
        if self.statistic == "latest":
            return None if latest is None else latest[self.column]
        total = float(totals[self.column])
        if self.statistic == "mean":
            known = totals[self.column - 1]
            return total / float(known) if known else None
        return total


@dataclass(frozen=True)
class Plan:
    """A group, and the features of one contract that are read from it."""

    group: Group
    features: tuple[Windowed, ...]

    @property
    def by(self) -> tuple[str, ...]:
        """The names of the key."""
        return self.group.by

    @cached_property
    def id(self) -> str:
        """The group's id."""
        return self.group.id

    @cached_property
    def windows(self) -> tuple[int, ...]:
        """The different windows, microseconds."""
        return tuple(sorted({feature.window for feature in self.features}))

    @cached_property
    def longest(self) -> int:
        """The longest window that ends, microseconds."""
        return max(feature.window for feature in self.features)


def plans(contract: Contract) -> tuple[Plan, ...]:
    """The aggregates of `contract` by stream and key."""
    wanted: dict[tuple[str, tuple[str, ...]], list[tuple[str, Aggregate, bool]]] = defaultdict(list)
    for feature in contract.features:
        if (spec := feature.aggregate) is not None:
            wanted[spec.events, spec.by].append((feature.name, spec, feature.source == "batch"))
    return tuple(_plan(stream, by, specs) for (stream, by), specs in sorted(wanted.items()))


def _plan(stream: str, by: tuple[str, ...], specs: Sequence[tuple[str, Aggregate, bool]]) -> Plan:
    group = Group(
        stream=stream,
        by=by,
        summed=_values(specs, ("mean", "sum")),
        latest=_values(specs, ("latest",)),
    )
    return Plan(
        group,
        tuple(
            Windowed(name, spec.statistic, _column(group, spec), spec.window_minutes * MINUTE, batch)
            for name, spec, batch in specs
        ),
    )


def _values(specs: Iterable[tuple[str, Aggregate, bool]], statistics: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted({spec.value for _, spec, _ in specs if spec.statistic in statistics}))


def _column(group: Group, spec: Aggregate) -> int:
    if spec.statistic == "latest":
        return group.latest.index(spec.value)
    return 0 if spec.statistic == "count" else 2 + 2 * group.summed.index(spec.value)
