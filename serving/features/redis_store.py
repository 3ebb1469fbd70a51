"""The shared store: Redis, where replicas on several hosts keep one state.

Redis must not evict (`maxmemory-policy noeviction`), and keeps what it acknowledged as its own `appendonly`
setting says. One primary: the keys of a script are on one node.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby
from operator import itemgetter
from typing import Any

import msgspec
import redis

from serving.features.facts import Fact
from serving.features.groups import Group
from serving.features.redis_keys import (
    ADD,
    PREFIX,
    base_of,
    logged,
    member,
    new_epoch,
    put_question,
    read_found,
    recent_of,
)
from serving.features.redis_sweep import CHUNK, chunks, sweep
from serving.features.store import (
    COUNTS,
    NEVER,
    Ask,
    Base,
    Counted,
    Event,
    EventError,
    Held,
    Published,
    Read,
    State,
    StoreError,
    covered,
    placed,
    state_of,
    superseded,
)

FIRST_GENERATION = 2**40  # at most
TIMEOUT_S = 2.0  # of one answer; a completion in flight waits no longer


class RedisStore:
    """The interface of `serving.features.store.Store` over one Redis."""

    quick = False  # a round trip: not on the event loop

    def __init__(self, address: str) -> None:
        """Know `address`; it is first asked when something is wanted, so that a service starts without it.

        Raises:
            StoreError: it cannot be an address.
        """
        self._address = address.partition("?")[0].rpartition("@")[2]  # without a password, for sentences
        self._state: State | None = None
        with self._asking():
            self._redis: Any = redis.Redis.from_url(
                address, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S, decode_responses=False
            )
        self._script = self._redis.register_script(ADD)

    def state(self) -> State:
        """What there is."""
        with self._asking(), self._redis.pipeline(transaction=True) as pipe:
            pipe.setnx(PREFIX + "epoch", new_epoch())
            pipe.get(PREFIX + "epoch")
            kept = self._state
            pipe.hgetall(PREFIX + "held")
            pipe.hgetall(PREFIX + "published")
            _, epoch, held, published = pipe.execute()
        if kept is None or kept.epoch != int(epoch):
            named = ({name.decode(): text for name, text in said.items()} for said in (held, published))
            kept = self._state = state_of(int(epoch), *named)
        return kept

    def register(self, groups: Sequence[Group]) -> None:
        """Keep `groups` from now on, and from the log what happened before.

        Until the log has been read they are not ready. Reading it twice adds nothing twice: a row is a member
        of a set.
        """
        known = self.state().groups
        new = {group.id: group for group in groups if group.id not in known or not known[group.id].ready}
        if not new:
            return
        with self._asking(), self._redis.pipeline(transaction=True) as pipe:
            for name, group in new.items():
                pipe.hsetnx(PREFIX + "held", name, msgspec.json.encode(Held(group)))
            pipe.set(PREFIX + "epoch", new_epoch())  # from here on every event is added to them, too
            pipe.execute()
        self._replay(new)

        def ready(pipe: Any) -> None:
            kept = pipe.hmget(PREFIX + "held", list(new))
            since = int(pipe.get(PREFIX + "pruned") or NEVER)  # what is pruned from now on was read
            if None in kept:
                raise self._lost()
            pipe.multi()
            for name, held in zip(new, (msgspec.json.decode(text, type=Held) for text in kept), strict=True):
                if not held.ready:  # else somebody was quicker, and it may be materialised
                    done = Held(held.group, ready=True, since=since)
                    pipe.hset(PREFIX + "held", name, msgspec.json.encode(done))
            pipe.set(PREFIX + "epoch", new_epoch())

        with self._asking():
            self._redis.transaction(ready, PREFIX + "held")

    def add(self, events: Sequence[Event]) -> Counted:
        """Log events and put them where they belong: all of them or none."""
        state = self._state or self.state()
        try:
            placed(state, events)
        except EventError:
            state = self.state()  # somebody may have registered what was unknown
        while True:
            arguments: list[Any] = [state.epoch, PREFIX]
            for event, rows in zip(events, placed(state, events), strict=True):
                arguments += (event.id, event.stream, event.at, logged(event))
                arguments += (int(covered(state, event)), len(rows))
                for row in rows:
                    arguments += (f"keys:{row.group}", recent_of(row.group, row.key), member(event, row))
            with self._asking():
                found = self._script(keys=[PREFIX + "epoch"], args=arguments)
            if found is not None:
                return Counted(**dict(zip(COUNTS, map(int, found), strict=True)))
            state = self.state()
            if not state.groups:  # there were some: the events are right, and to be sent again
                raise self._lost()

    def read(
        self, epoch: int, asks: Sequence[Ask], records: Sequence[tuple[str, int, str]], streams: Iterable[str]
    ) -> Read | None:
        """Answers from the state `epoch`; None where that is no longer the state."""
        streams = tuple(streams)
        with self._asking(), self._redis.pipeline(transaction=True) as pipe:  # one moment, one round trip
            pipe.get(PREFIX + "epoch")
            for ask in asks:
                put_question(pipe, ask)
            for name, generation, key in records:
                pipe.hget(PREFIX + f"records:{generation}:{name}", key)
            for stream in streams:
                pipe.hget(PREFIX + f"stream:{stream}", "newest")
            said = iter(pipe.execute())
        if next(said) != b"%d" % epoch:  # None: it lost its data
            return None
        answers = [read_found(ask, said) for ask in asks]
        kept = [next(said) for _ in records]
        heard = {stream: int(value) for stream in streams if (value := next(said)) is not None}
        return Read(answers, [None if item is None else msgspec.json.decode(item) for item in kept], heard)

    def log(self) -> Iterator[Event]:
        """Every event that is kept, by moment and id."""
        start = 0
        while True:
            with self._asking():
                names = self._redis.zrange(PREFIX + "log:at", start, start + CHUNK - 1)
                texts = self._redis.hmget(PREFIX + "log", names) if names else []
            if not names:
                return
            for name, text in zip(names, texts, strict=True):
                if text is not None:
                    stream, at, facts = msgspec.json.decode(text)
                    yield Event(name.decode(), stream, at, facts)
            start += len(names)

    def rebuild(self) -> int:
        """Make the recent anew out of the log; how many events that were."""
        state = self.state()
        with self._asking():
            for name in state.groups:
                keys = [PREFIX + key.decode() for key in self._redis.smembers(PREFIX + f"keys:{name}")]
                for part in chunks(iter(keys)):
                    self._redis.delete(*part)
        return self._replay({name: held.group for name, held in state.groups.items()})

    def begin(self) -> int:
        """The number of a new generation."""
        with self._asking(), self._redis.pipeline(transaction=True) as pipe:
            # From a number that is drawn: after a loss none comes again.
            pipe.setnx(PREFIX + "generation", new_epoch() % FIRST_GENERATION)
            pipe.incr(PREFIX + "generation")
            generation = int(pipe.execute()[1])
            self._redis.sadd(PREFIX + "begun", generation)
            return generation

    def put_base(self, generation: int, group: str, rows: Iterable[tuple[str, Base]]) -> None:
        """Write base rows (key, totals) of a generation; nobody reads them yet."""
        for part in chunks(iter(rows)):
            keys = {base_of(generation, group, key) for key, _ in part}
            with self._asking(), self._redis.pipeline(transaction=False) as pipe:
                # Named before they are written: what is cut off here is found again.
                pipe.sadd(PREFIX + f"made:{group}:{generation}", *keys)
                pipe.sadd(PREFIX + f"made:{group}", generation)
                for key, run in groupby(part, key=itemgetter(0)):
                    members = {msgspec.json.encode(base): base.at for _, base in run}
                    pipe.zadd(PREFIX + base_of(generation, group, key), members)
                pipe.execute()

    def put_records(self, generation: int, table: str, rows: Iterable[tuple[str, dict[str, Fact]]]) -> None:
        """Write records (key, values) of a generation; nobody reads them yet."""
        name = f"records:{generation}:{table}"
        for part in chunks(iter(rows)):
            with self._asking():
                self._redis.sadd(PREFIX + f"made:{table}:{generation}", name)
                self._redis.sadd(PREFIX + f"made:{table}", generation)
                mapping = {key: msgspec.json.encode(facts) for key, facts in part}
                self._redis.hset(PREFIX + name, mapping=mapping)

    def switch(self, generation: int, held: Mapping[str, Held], records: Mapping[str, Published]) -> None:
        """Let `held` and `records` be what is read, all at once; then remove what no look-up reaches."""

        def change(pipe: Any) -> None:
            state = self.state()
            if not pipe.sismember(PREFIX + "begun", generation) or not held.keys() <= state.groups.keys():
                raise self._lost()
            superseded(state, generation, held, records)
            pipe.multi()
            pipe.srem(PREFIX + "begun", generation)
            for name, item in held.items():
                pipe.hset(PREFIX + "held", name, msgspec.json.encode(item))
            for name, published in records.items():
                pipe.hset(PREFIX + "published", name, msgspec.json.encode(published))
            pipe.set(PREFIX + "epoch", new_epoch())

        with self._asking():
            self._redis.transaction(change, PREFIX + "epoch")
        state = self.state()
        with self._asking():
            sweep(self._redis, state)

    def prune_log(self, until: int) -> int:
        """Remove logged events up to a moment that every base covers; how many those were."""
        until = min([until, *(held.as_of for held in self.state().groups.values())])
        removed = 0
        with self._asking():
            before = self._redis.get(PREFIX + "pruned")
            self._redis.set(PREFIX + "pruned", until if before is None else max(until, int(before)))
            while names := self._redis.zrange(
                PREFIX + "log:at", "-inf", until, byscore=True, offset=0, num=CHUNK
            ):
                with self._redis.pipeline(transaction=True) as pipe:
                    pipe.hdel(PREFIX + "log", *names)
                    pipe.zrem(PREFIX + "log:at", *names)
                    pipe.execute()
                removed += len(names)
        return removed

    def counts(self) -> dict[str, dict[str, int]]:
        """By stream: accepted, duplicates, conflicting, late, covered, and `newest` in microseconds."""
        with self._asking():
            streams = sorted(name.decode() for name in self._redis.smembers(PREFIX + "streams"))
            found = {name: self._redis.hgetall(PREFIX + f"stream:{name}") for name in streams}
        names = (*COUNTS, "newest")
        return {
            stream: {name: int(numbers[name.encode()]) for name in names}
            for stream, numbers in found.items()
            if numbers  # else lost between the two questions
        }

    def close(self) -> None:
        """Let go of connections."""
        self._redis.close()

    @contextmanager
    def _asking(self) -> Iterator[None]:
        try:
            yield
        except (redis.RedisError, ValueError) as error:
            raise StoreError(
                f"the online store at {self._address} fails ({error})",
                "a Redis that answers",
                "See its log, or set FLIGHTLINE_ONLINE_STORE",
            ) from None

    def _lost(self) -> StoreError:
        return StoreError(
            f"the online store at {self._address} lost what it held",
            "a Redis that keeps its data",
            "See its appendonly; send the events again and materialise",
        )

    def _replay(self, groups: Mapping[str, Group]) -> int:
        """Add every logged event to `groups`; how many there were."""
        state, count = self.state(), 0
        if not groups.keys() <= state.groups.keys():
            raise self._lost()
        only = State(state.epoch, {name: state.groups[name] for name in groups}, {})
        wanted = set(only.streams)
        events = (event for event in self.log() if event.stream in wanted)
        for part in chunks(events):
            with self._asking(), self._redis.pipeline(transaction=False) as pipe:
                for event, rows in zip(part, placed(only, part), strict=True):
                    for row in rows:
                        name = recent_of(row.group, row.key)
                        pipe.zadd(PREFIX + name, {member(event, row): event.at})
                        pipe.sadd(PREFIX + f"keys:{row.group}", name)
                pipe.execute()
            count += len(part)
        return count
