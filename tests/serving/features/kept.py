"""Events, what they come to, and what is materialised of them, for the suites of both stores."""

import random

import pytest

from serving.features.facts import microseconds, moment_of
from serving.features.groups import plans
from serving.features.lookup import answer, ask
from serving.features.online import OnlineFeatures
from serving.features.past import Past
from serving.features.store import (
    NEVER,
    Base,
    Event,
    Held,
    key_text,
)
from tests.plugins.stores import BACKENDS
from tests.training.worlds import declared, minute, past

STATISTICS = ("mean", "count", "sum", "latest")
CONTRACT = declared(
    *map(past, STATISTICS),
    *(past(name, 180, by=("origin", "carrier")) for name in STATISTICS),
    *(past(name, 0) for name in STATISTICS),
    past("sum", 60, stream="landings"),
)
GROUPS = [plan.group for plan in plans(CONTRACT)]
ORIGINS, CARRIERS = ("JFK", "EWR", "LGA"), ("UA", "AA")

backends = pytest.mark.parametrize("kind", BACKENDS)


def event(number, at, delay, stream="departures", *, origin="JFK", carrier="UA"):
    """An event whose id is its number."""
    facts = {"origin": origin, "carrier": carrier, "delay": delay}
    return Event(f"e{number}", stream, microseconds(at), facts)


def world(seed, count=400):
    """Random events of ten hours: some at one moment, some without a delay, a few without an origin."""
    luck = random.Random(seed)  # noqa: S311 - a world, not a secret
    return [
        event(
            number,
            minute(luck.randrange(-600, 0)),
            luck.choice([None, *range(-20, 90)]),
            luck.choice(["departures", "departures", "landings"]),
            origin=luck.choice([*ORIGINS, *ORIGINS, None]),
            carrier=luck.choice(CARRIERS),
        )
        for number in range(count)
    ]


def happened(events, contract=CONTRACT):
    """The interpreter in memory after `events`."""
    online = OnlineFeatures(contract)
    for item in events:
        if item.stream in online.streams:
            online.observe(item.stream, moment_of(item.at), item.facts)
    return online


def values(store, at, contract=CONTRACT, **keys):
    """The features at a moment out of the store; those that it cannot know are absent."""
    state, moment = store.state(), microseconds(at)
    found = {}
    for plan in plans(contract):
        held = state.groups[plan.group.id]
        key = key_text(tuple(keys[name] for name in plan.by))
        asked = ask(plan, held, key, moment)
        read = store.read(state.epoch, [asked], [], [])
        assert read is not None
        found |= answer(plan, held, asked, read.found[0])
    return {f.name: found[f.name] for f in contract.features if f.name in found}


def assert_same(store, events, contract=CONTRACT, moments=range(-600, 60, 37)):
    """The store answers as the interpreter in memory does, at many moments and for every key."""
    online = happened(events, contract)
    for number in moments:
        for origin in ORIGINS:
            for carrier in CARRIERS:
                keys = {"origin": origin, "carrier": carrier}
                at = minute(number)
                assert values(store, at, contract, **keys) == online.values(keys, at)


def base_of(group, events, as_of):
    """The running totals of one group up to `as_of`, as materialisation writes them."""
    pasts, moments = {}, {}
    for item in events:
        key, totals, latest = group.read(item.facts)
        if item.stream == group.stream and item.at <= as_of and key is not None:
            pasts.setdefault(key, Past(group.width)).add(item.at, totals, latest)
            moments.setdefault(key, set()).add(item.at)
    for key, kept in pasts.items():
        for at in sorted(moments[key]):
            place = kept.place(at)
            yield key_text(key), Base(at, kept.totals(place, group.width), kept.latest(place))


def materialised(store, events, as_of, since=NEVER, groups=GROUPS):
    """A generation of `groups` up to `as_of`, from the offline side's events; its number."""
    generation = store.begin()
    for group in groups:
        store.put_base(generation, group.id, base_of(group, events, as_of))
    store.switch(generation, held(generation, as_of, since, groups), {})
    return generation


def held(generation, as_of, since=NEVER, groups=GROUPS):
    """What a store is told of the groups of a generation."""
    return {g.id: Held(g, ready=True, generation=generation, as_of=as_of, since=since) for g in groups}
