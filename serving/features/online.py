"""The interpreter of a contract's aggregates: events in, features at a moment out.

The answers equal those of the offline computation exactly: whole numbers are summed, and divided once.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from datetime import datetime

from contract.errors import FlightlineError
from contract.schema import Aggregate, Contract
from contract.strict import near_miss
from serving.features.facts import (
    MINUTE,
    Fact,
    Key,
    microseconds,
    moment_of,
    read_key,
    read_number,
    read_value,
)
from serving.features.past import Past

_NOTHING = Past(0)


class OnlineFeatures:
    """Every aggregate of a contract, at any moment since `forget` was last called, from the events so far.

    An observation costs O(log n) for each key of its stream, a look-up O(log n) for each window, where n is
    the number of moments that the key's longest window holds. Events may come in any order; one that comes
    late, by its own stream's newest, is put where it belongs, O(n), and counted. Not safe for threads.

    Attributes:
        observed: events by stream.
        late: events that came after a newer one of their stream.
        expired: late ones that no look-up can reach any more.
    """

    def __init__(self, contract: Contract) -> None:
        """Know the declarations of `contract`; no event has been seen."""
        wanted: dict[tuple[str, tuple[str, ...]], dict[str, Aggregate]] = defaultdict(dict)
        for feature in contract.features:
            spec = feature.aggregate
            if spec is not None:
                wanted[spec.events, spec.by][feature.name] = spec
        self._groups: dict[str, list[_Group]] = defaultdict(list)
        for (stream, by), specs in sorted(wanted.items()):
            self._groups[stream].append(_Group(stream, by, specs))
        self._names = [feature.name for feature in contract.features if feature.aggregate is not None]
        self._newest: dict[str, int] = {}
        self._horizon: int | None = None
        self.observed, self.late, self.expired = Counter[str](), Counter[str](), Counter[str]()

    @property
    def streams(self) -> tuple[str, ...]:
        """The streams whose events it wants."""
        return tuple(sorted(self._groups))

    @property
    def moments(self) -> int:
        """How many moments are kept, over all streams and keys: what memory grows with."""
        return sum(len(past) for group in self._all() for past in group.pasts.values())

    def observe(self, stream: str, at: datetime, facts: Mapping[str, Fact]) -> None:
        """An event of `stream` became known at `at`; `facts` are its keys and values, null where unknown.

        A refused event leaves no trace.

        Raises:
            FlightlineError: no feature reads the stream, `at` has no time zone, or a key or value is absent
                or of the wrong type.
        """
        if stream not in self._groups:
            raise FlightlineError(
                f"no feature reads a stream '{stream}'{near_miss(stream, list(self.streams))}",
                f"one of {', '.join(self.streams)}",
                "Correct the event",
            )
        moment, groups = microseconds(at), self._groups[stream]
        read = [group.read(facts) for group in groups]
        for group, (key, numbers, latest) in zip(groups, read, strict=True):
            if key is not None:  # an unknown key equals nothing
                group.past(key).add(moment, numbers, latest)
        self.observed[stream] += 1
        if moment >= self._newest.get(stream, moment):
            self._newest[stream] = moment
        else:
            self.late[stream] += 1
            self.expired[stream] += self._horizon is not None and all(
                not group.endless and moment <= self._horizon - group.longest for group in groups
            )

    def values(self, keys: Mapping[str, Fact], at: datetime) -> dict[str, float | None]:
        """Every aggregate feature at the moment `at`, in the order of the contract.

        A key that is null, or to which nothing happened, has no events: counts and sums are 0, the rest null.

        Raises:
            FlightlineError: a key is absent, or what lies before `at` has been forgotten.
        """
        moment = microseconds(at)
        if self._horizon is not None and moment < self._horizon:
            raise FlightlineError(
                f"features at {at.isoformat()} need events that were forgotten",
                f"a moment not before {moment_of(self._horizon).isoformat()}",
                "Forget later, or ask earlier",
            )
        found: dict[str, float | None] = {}
        for group in self._all():
            group.look_up(keys, moment, found)
        return {name: found[name] for name in self._names}

    def forget(self, before: datetime) -> None:
        """Let go of what no look-up at `before` or later can see. O(keys): call it by the hour or the day."""
        horizon = microseconds(before)
        if self._horizon is None or horizon > self._horizon:
            self._horizon = horizon
            for group in self._all():
                group.forget(horizon)

    def _all(self) -> Iterator["_Group"]:
        for groups in self._groups.values():
            yield from groups


class _Group:
    """The features that share one stream and one key, and the pasts of all keys."""

    def __init__(self, stream: str, by: tuple[str, ...], specs: Mapping[str, Aggregate]) -> None:
        self.stream, self.by = stream, by
        self.pasts: dict[Key, Past] = {}
        windows = [spec.window_minutes * MINUTE for spec in specs.values()]
        self.endless = 0 in windows  # a window of 0 begins with the first event
        self.longest = max(windows)  # microseconds, of the windows that end
        # Totals: all events, then for each summed value how many had it and their sum.
        self._summed = sorted({spec.value for spec in specs.values() if spec.statistic in ("mean", "sum")})
        self._latest = sorted({spec.value for spec in specs.values() if spec.statistic == "latest"})
        self._features = [
            (name, spec.statistic, self._column(spec), window)
            for (name, spec), window in zip(specs.items(), windows, strict=True)
        ]

    def _column(self, spec: Aggregate) -> int:
        if spec.statistic == "latest":
            return self._latest.index(spec.value)
        return 0 if spec.statistic == "count" else 2 + 2 * self._summed.index(spec.value)

    def read(self, facts: Mapping[str, Fact]) -> tuple[Key | None, list[int], tuple[float | None, ...]]:
        """The event's key, what it adds to the totals, and its latest values."""
        numbers = [1]
        for name in self._summed:
            value = read_number(self.stream, name, facts)
            numbers += (0, 0) if value is None else (1, value)
        latest = tuple(read_value(self.stream, name, facts) for name in self._latest)
        return read_key(self.stream, self.by, facts), numbers, latest

    def past(self, key: Key) -> Past:
        """What happened to `key`; from now on it is kept."""
        found = self.pasts.get(key)
        if found is None:
            found = self.pasts[key] = Past(1 + 2 * len(self._summed))
        return found

    def look_up(self, keys: Mapping[str, Fact], moment: int, found: dict[str, float | None]) -> None:
        """Put the group's features at `moment` into `found`."""
        key = read_key("a look-up", self.by, keys)
        past = _NOTHING if key is None else self.pasts.get(key, _NOTHING)
        now = past.place(moment)
        before = {0: -1}  # window -> the last place that it does not reach; a window of 0 reaches all
        for name, statistic, column, window in self._features:
            if window not in before:
                before[window] = past.place(moment - window)
            start = before[window]
            if statistic == "latest":
                found[name] = past.latest(column, now) if now > start else None
                continue
            total = float(past.total(column, now) - past.total(column, start))
            if statistic == "mean":
                known = past.total(column - 1, now) - past.total(column - 1, start)
                found[name] = total / float(known) if known else None
            else:
                found[name] = total

    def forget(self, horizon: int) -> None:
        """Let go of what no window that ends at `horizon` or later reaches."""
        for key, past in list(self.pasts.items()):
            past.trim(horizon - self.longest)
            # What an endless window counts stays, however long ago it was.
            if not self.endless and past.ended(horizon - self.longest):
                del self.pasts[key]
