"""The interpreter of a contract's aggregates: events in, features at a moment out.

The answers equal those of the offline computation exactly: whole numbers are summed, and divided once.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from datetime import datetime
from operator import sub

from contract.errors import FlightlineError
from contract.schema import Contract
from contract.strict import near_miss
from serving.features.facts import Fact, Key, microseconds, moment_of, read_key
from serving.features.groups import Plan, plans
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
        self._groups: dict[str, list[_Group]] = defaultdict(list)
        for plan in plans(contract):
            self._groups[plan.group.stream].append(_Group(plan))
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
        read = [group.group.read(facts) for group in groups]
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

    def __init__(self, plan: Plan) -> None:
        self.plan, self.group = plan, plan.group
        self.pasts: dict[Key, Past] = {}
        self.endless = 0 in plan.windows  # a window of 0 begins with the first event
        self.longest = plan.longest

    def past(self, key: Key) -> Past:
        """What happened to `key`; from now on it is kept."""
        found = self.pasts.get(key)
        if found is None:
            found = self.pasts[key] = Past(self.group.width)
        return found

    def look_up(self, keys: Mapping[str, Fact], moment: int, found: dict[str, float | None]) -> None:
        """Put the group's features at `moment` into `found`."""
        key = read_key("a look-up", self.group.by, keys)
        past = _NOTHING if key is None else self.pasts.get(key, _NOTHING)
        now = past.place(moment)
        totals, latest = past.totals(now, self.group.width), past.latest(now)
        for window in self.plan.windows:
            # The last place that the window does not reach; a window of 0 reaches all.
            start = past.place(moment - window) if window else -1
            before = past.totals(start, self.group.width)
            inside = tuple(map(sub, totals, before))
            for feature in self.plan.features:
                if feature.window == window:
                    found[feature.name] = feature.value(inside, latest if now > start else None)

    def forget(self, horizon: int) -> None:
        """Let go of what no window that ends at `horizon` or later reaches."""
        for key, past in list(self.pasts.items()):
            past.trim(horizon - self.longest)
            # What an endless window counts stays, however long ago it was.
            if not self.endless and past.ended(horizon - self.longest):
                del self.pasts[key]
