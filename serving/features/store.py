"""What an online store keeps and answers, whatever keeps it: events, what was materialised, and records.

Of a group and a key a store holds two things. The *base* is running totals by moment up to `as_of`, written
as a whole by materialisation and never changed. The *recent* are the single events after it, a set by event
id: adding is idempotent and commutes, so that order, duplicates and a kill in between are no matter. What an
event says of a moment up to `as_of` is the base's matter.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec

from contract.errors import ConfigError, FlightlineError
from contract.strict import near_miss
from serving.features.facts import Fact, Key
from serving.features.groups import Group, Latest, Totals

NEVER = -(2**62)  # microseconds: before every moment


class StoreError(FlightlineError):
    """The store does not answer, or cannot be used."""


class EventError(FlightlineError):
    """One of several events cannot be meant."""

    def __init__(self, index: int, cause: FlightlineError) -> None:
        """Keep which one and what is wrong with it."""
        super().__init__(cause.found, cause.expected, cause.remedy)
        self.index = index


class Event(msgspec.Struct, frozen=True):
    """Something that happened: `facts` of `stream`, known at `at` (microseconds since 1970)."""

    id: str
    stream: str
    at: int
    facts: dict[str, Fact]


class Held(msgspec.Struct, frozen=True):
    """What a store has of one group."""

    group: Group
    ready: bool = False  # False while the log is being read for it
    generation: int = 0  # of its base; 0: none was materialised
    as_of: int = NEVER  # the base covers everything up to this moment
    since: int = NEVER  # windows must not begin before it


class Published(msgspec.Struct, frozen=True):
    """The current generation of one table of records."""

    generation: int
    as_of: int


class State(msgspec.Struct, frozen=True):
    """What a store has. Every change of it has another epoch."""

    epoch: int
    groups: dict[str, Held]
    records: dict[str, Published]

    def of_stream(self, stream: str) -> list[tuple[str, Held]]:
        """The groups that read a stream, by id."""
        return [(name, held) for name, held in self.groups.items() if held.group.stream == stream]

    @property
    def streams(self) -> list[str]:
        """The streams that a group reads."""
        return sorted({held.group.stream for held in self.groups.values()})


class Row(NamedTuple):
    """What one event adds to one key of a group."""

    group: str
    key: str
    totals: Totals
    latest: Latest


class Base(NamedTuple):
    """The running totals of a key up to and including a moment, and the latest values at it."""

    at: int
    totals: Totals
    latest: Latest


class Ask(NamedTuple):
    """A question about one key of a group: sums of the recent and points of the base."""

    group: str
    width: int  # how many totals the group has
    latest: int  # how many latest values; without any, what is newest is not looked for
    key: str
    generation: int
    starts: tuple[int, ...]  # sums over (start, until], ascending; empty: of the recent nothing
    until: int
    points: tuple[int, ...]  # the last of the base that is not after each of these


class Found(NamedTuple):
    """The answer to an `Ask`, in its order."""

    sums: list[Totals]
    newest: tuple[int, Latest] | None  # of (starts[0], until]; of several at one moment the larger values
    points: list[Base | None]


class Read(NamedTuple):
    """Answers out of one consistent state."""

    found: list[Found]
    records: list[dict[str, Fact] | None]
    newest: dict[str, int]  # the newest moment heard of, by stream


@dataclass
class Counted:
    """What became of the events of one call."""

    accepted: int = 0
    duplicates: int = 0  # of them:
    conflicting: int = 0  # the same id with other content; the first one holds
    late: int = 0  # accepted after a newer one of their stream
    covered: int = 0  # accepted for a moment that materialisation speaks for


COUNTS = tuple(field.name for field in fields(Counted))  # as both stores call them


class Store(Protocol):
    """Where features are kept. Every method may be called from any thread, and by several processes at once.

    Raises:
        StoreError: (all) it does not answer.
    """

    quick: bool  # what is read of it is had at once, so that the event loop may ask

    def state(self) -> State:
        """What there is."""

    def register(self, groups: Sequence[Group]) -> None:
        """Keep `groups` from now on, and from the log what happened before."""

    def add(self, events: Sequence[Event]) -> Counted:
        """Log events and put them where they belong: all of them or none.

        Raises:
            EventError: no group reads the stream, or a group cannot read the facts.
        """

    def read(
        self, epoch: int, asks: Sequence[Ask], records: Sequence[tuple[str, int, str]], streams: Iterable[str]
    ) -> Read | None:
        """Answers from the state `epoch`; None where that is no longer the state."""

    def log(self) -> Iterator[Event]:
        """Every event that is kept, by moment and id."""

    def rebuild(self) -> int:
        """Make the recent anew out of the log; how many events that were."""

    def begin(self) -> int:
        """The number of a new generation."""

    def put_base(self, generation: int, group: str, rows: Iterable[tuple[str, Base]]) -> None:
        """Write base rows (key, totals) of a generation; nobody reads them yet."""

    def put_records(self, generation: int, table: str, rows: Iterable[tuple[str, dict[str, Fact]]]) -> None:
        """Write records (key, values) of a generation; nobody reads them yet."""

    def switch(self, generation: int, held: Mapping[str, Held], records: Mapping[str, Published]) -> None:
        """Let `held` and `records` be what is read, all at once; then remove what no look-up reaches.

        What a generation left behind that was never switched to goes with it, if that was an earlier one.

        Raises:
            FlightlineError: a later generation of one of them is read already.
        """

    def prune_log(self, until: int) -> int:
        """Remove logged events up to a moment that every base covers; how many those were."""

    def counts(self) -> dict[str, dict[str, int]]:
        """By stream: accepted, duplicates, conflicting, late, covered, and `newest` in microseconds."""

    def close(self) -> None:
        """Let go of connections."""


def key_text(key: Key) -> str:
    """A key as text; a word and a number of equal look differ."""
    return msgspec.json.encode(key).decode()


def state_of(epoch: int, held: Mapping[str, bytes | str], published: Mapping[str, bytes | str]) -> State:
    """A state out of the texts that a store keeps, groups and tables by name."""
    return State(
        epoch,
        {name: msgspec.json.decode(text, type=Held) for name, text in sorted(held.items())},
        {name: msgspec.json.decode(text, type=Published) for name, text in published.items()},
    )


def placed(state: State, events: Sequence[Event]) -> list[list[Row]]:
    """The rows that each of `events` adds, those apart that a base covers.

    Raises:
        EventError: no group reads the stream, or a group cannot read the facts.
    """
    found = []
    for index, event in enumerate(events):
        try:
            found.append(_rows(state, event))
        except FlightlineError as error:
            raise EventError(index, error) from None
    return found


def _rows(state: State, event: Event) -> list[Row]:
    groups = state.of_stream(event.stream)
    if not groups:
        known = state.streams
        raise FlightlineError(
            f"no feature reads a stream '{event.stream[:80]}'{near_miss(event.stream[:80], known)}",
            f"one of {', '.join(known) or 'none'}",
            "Correct the event",
        )
    rows = []
    for name, held in groups:
        key, totals, latest = held.group.read(event.facts)
        if key is not None and event.at > held.as_of:  # an unknown key equals nothing
            rows.append(Row(name, key_text(key), totals, latest))
    return rows


def covered(state: State, event: Event) -> bool:
    """Whether the base of a group speaks for the event's moment."""
    return any(event.at <= held.as_of for _, held in state.of_stream(event.stream))


def superseded(
    state: State, generation: int, held: Mapping[str, Held], records: Mapping[str, Published]
) -> None:
    """Refuse to go back behind what is read already.

    Raises:
        FlightlineError: a later generation of a group or a table was switched to meanwhile.
    """
    current = [state.groups[name].generation for name in held]
    current += [state.records[name].generation for name in records if name in state.records]
    if max(current, default=0) > generation:
        raise FlightlineError(
            f"generation {max(current)} was published while {generation} was being made",
            "one materialisation of a model at a time",
            "Nothing need be done: what is read is the later one",
        )


def larger(one: Latest, other: Latest) -> Latest:
    """Of two values at one moment the larger, an unknown one being the smallest."""
    return tuple(b if a is None else a if b is None else max(a, b) for a, b in zip(one, other, strict=True))


def open_store(address: str) -> Store:
    """The store at `address`: `redis://…`, `rediss://…`, `unix://…`, or the path of an SQLite file.

    Raises:
        ConfigError: the address is of another kind.
        StoreError: it cannot be opened.
    """
    scheme, separator, _ = address.partition("://")
    if not separator:
        from serving.features.sqlite_store import SqliteStore

        return SqliteStore(Path(address))
    if scheme in ("redis", "rediss", "unix"):
        from serving.features.redis_store import RedisStore

        return RedisStore(address)
    raise ConfigError(
        f"FLIGHTLINE_ONLINE_STORE begins with '{scheme}://'",
        "redis://, rediss://, unix:// or the path of a file",
        "Correct it",
    )
