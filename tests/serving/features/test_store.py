"""Both stores, by one suite: whatever the order and the duplicates, the values are the same."""

import random
import threading

import pytest

from contract.errors import FlightlineError
from serving.features.facts import microseconds, moment_of
from serving.features.groups import plans
from serving.features.lookup import answer, ask
from serving.features.online import OnlineFeatures
from serving.features.past import Past
from serving.features.store import (
    NEVER,
    Base,
    Counted,
    Event,
    EventError,
    Held,
    Published,
    key_text,
    open_store,
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


@pytest.fixture
def store(open_stores, kind):
    """An empty store that knows the groups of `CONTRACT`."""
    found = open_stores(kind)
    found.register(GROUPS)
    return found


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


@backends
@pytest.mark.parametrize("seed", range(3))
def test_shuffled_and_duplicated_events_give_the_values_of_the_interpreter(store, seed):
    """Each event twice or more, in any order, in batches of any size (S4)."""
    events = world(seed)
    luck = random.Random(seed + 100)  # noqa: S311 - an order, not a secret
    sent = [*events, *events, *luck.sample(events, 50)]
    luck.shuffle(sent)
    total = 0
    while sent:
        size = luck.randrange(1, 60)
        total += store.add(sent[:size]).accepted
        del sent[:size]
    assert total == len(events)
    assert_same(store, events)


@backends
def test_a_missing_event_makes_a_difference(store):
    """The comparison bites: one event of four hundred left out."""
    events = world(0)
    store.add([item for item in events if item.id != "e7"])
    with pytest.raises(AssertionError):
        assert_same(store, events)


@backends
def test_an_id_counts_once(store):
    """Again, in the same call or another: a duplicate; with other content, one that the first wins over."""
    assert store.add([event(1, minute(-5), 10), event(1, minute(-5), 10)]) == Counted(1, 1)
    assert store.add([event(1, minute(-5), 99)]) == Counted(0, 1, conflicting=1)
    assert values(store, minute(0), origin="JFK", carrier="UA")["f2"] == 10.0
    departures = store.counts()["departures"]
    assert departures == {
        "accepted": 1,
        "duplicates": 2,
        "conflicting": 1,
        "late": 0,
        "covered": 0,
        "newest": microseconds(minute(-5)),
    }


@backends
def test_a_late_event_is_put_where_it_belongs_and_counted(store):
    """Late by its own stream's newest; the newest stays."""
    counted = store.add(
        [event(1, minute(-5), 20), event(2, minute(-30), 60), event(3, minute(-40), 1, "landings")]
    )
    assert (counted.accepted, counted.late) == (3, 1)
    found = values(store, minute(0), origin="JFK", carrier="UA")
    assert [found[name] for name in ("f0", "f1", "f2", "f3")] == [40.0, 2.0, 80.0, 20.0]
    assert store.counts()["departures"]["newest"] == microseconds(minute(-5))


@backends
@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (Event("x", "departure", 1, {}), "no feature reads a stream 'departure', did you mean 'departures'"),
        (Event("x", "departures", 1, {"origin": "JFK", "carrier": "UA"}), "says nothing of 'delay'"),
        (event("x", minute(0), 0.5), "gives 'delay' as 0.5"),
        (event("x", minute(0), 1, origin=1.5), "gives 'origin' as 1.5"),
    ],
)
def test_one_wrong_event_keeps_all_of_its_call_out(store, wrong, words):
    """None is added, and the error says which one it was."""
    with pytest.raises(EventError, match=words) as refused:
        store.add([event(1, minute(-5), 10), wrong])
    assert refused.value.index == 1
    assert (store.counts(), list(store.log())) == ({}, [])


@backends
@pytest.mark.parametrize("seed", range(2))
def test_what_was_materialised_and_what_came_after_add_up(store, seed):
    """Events up to five hours ago in the base, later ones as events, some of both sent twice."""
    events, as_of = world(seed), microseconds(minute(-300))
    store.add(events[:150])
    materialised(store, events, as_of)
    store.add(events)
    assert_same(store, events)
    later = microseconds(minute(-100))
    materialised(store, events, later)
    assert_same(store, events)


@backends
def test_an_event_that_the_base_speaks_for_is_logged_and_not_added(store):
    """Counted as covered; its own stream's base is the truth up to its moment."""
    as_of = microseconds(minute(-10))
    materialised(store, [], as_of)
    counted = store.add([event(1, minute(-10), 50), event(2, minute(-9), 7)])
    assert (counted.accepted, counted.covered) == (2, 1)
    assert values(store, minute(0), origin="JFK", carrier="UA")["f2"] == 7.0
    assert [item.id for item in store.log()] == ["e1", "e2"]


@backends
def test_a_generation_is_read_from_its_switch_on_and_not_before(store):
    """One that was cut off leaves what was read; a reader of the old state is told to look again."""
    store.add([event(1, minute(-5), 10)])
    before = store.state()
    generation = store.begin()
    elsewhere = [event(9, minute(-50), 500)]
    for group in GROUPS:
        store.put_base(generation, group.id, base_of(group, elsewhere, microseconds(minute(-20))))
    assert values(store, minute(0), origin="JFK", carrier="UA")["f2"] == 10.0
    assert store.read(before.epoch, [], [], []) is not None
    store.switch(generation, held(generation, microseconds(minute(-20))), {})
    assert store.read(before.epoch, [], [], []) is None
    assert values(store, minute(0), origin="JFK", carrier="UA")["f2"] == 510.0


@backends
def test_an_earlier_generation_never_replaces_a_later_one(store):
    """Two materialisations at once: the one that began first and ends last is refused."""
    slow = store.begin()
    materialised(store, [event(1, minute(-50), 3)], microseconds(minute(-20)))
    with pytest.raises(FlightlineError, match="was published while"):
        store.switch(slow, held(slow, microseconds(minute(-20))), {})
    assert values(store, minute(0), origin="JFK", carrier="UA")["f2"] == 3.0


@backends
def test_a_window_that_reaches_behind_what_is_known_has_no_value(store):
    """A base that begins three hours before it ends answers an hour, and not the hours before that."""
    as_of, since = microseconds(minute(-60)), microseconds(minute(-240))
    materialised(store, [event(1, minute(-90), 5)], as_of, since)
    everything = {feature.name for feature in CONTRACT.features}
    assert set(values(store, minute(-60), origin="JFK", carrier="UA")) == everything
    at_edge = set(values(store, minute(-61), origin="JFK", carrier="UA"))
    assert at_edge == everything - {"f4", "f5", "f6", "f7"}
    assert set(values(store, minute(-241), origin="JFK", carrier="UA")) == set()


@backends
def test_what_a_new_feature_reads_comes_out_of_the_log(store):
    """A group that is registered after the events has them, and those that follow."""
    other = declared(past("mean", 90, by=("carrier",)), past("latest", 90, by=("carrier",)))
    events = world(4)
    store.add(events[:200])
    store.register([plan.group for plan in plans(other)])
    store.register([plan.group for plan in plans(other)])
    store.add(events)
    assert_same(store, events, other)


@backends
def test_the_state_can_be_rebuilt_from_the_log(store):
    """The same values from the log alone, with a base below it; the log holds every event by moment."""
    events = world(5)
    materialised(store, events, microseconds(minute(-400)))
    store.add(events)
    assert store.rebuild() == len(events)
    assert_same(store, events)
    logged = list(store.log())
    assert sorted(item.id for item in logged) == sorted(item.id for item in events)
    assert [item.at for item in logged] == sorted(item.at for item in events)


@backends
def test_a_pruned_event_that_comes_again_changes_nothing(store):
    """Its id is forgotten, but the base speaks for its moment; a group that came later does not guess."""
    events, as_of = world(6), microseconds(minute(-300))
    store.add(events)
    assert store.prune_log(microseconds(minute(0))) == 0  # nothing is covered yet
    materialised(store, events, as_of)
    old = [item for item in events if item.at <= as_of]
    assert store.prune_log(microseconds(minute(0))) == len(old)
    assert store.add(old).covered == len(old)
    assert_same(store, events)
    other = declared(past("sum", 60, by=("carrier",)))
    store.register([plan.group for plan in plans(other)])
    assert values(store, minute(-241), other, carrier="UA") == {}
    assert_same(store, events, other, moments=range(-240, 0, 40))


@backends
def test_records_are_read_by_key_and_generation(store):
    """A new generation replaces the whole table; a key that it lacks has no record."""
    for number, seats in enumerate((100, 200), start=1):
        generation = store.begin()
        rows = [(key_text(("N1",)), {"seats": seats}), (key_text((f"N{number}0",)), {"seats": None})]
        store.put_records(generation, "planes", rows)
        store.switch(generation, {}, {"planes": Published(generation, number)})
    state = store.state()
    assert state.records == {"planes": Published(generation, 2)}
    asked = [("planes", generation, key_text((key,))) for key in ("N1", "N10", "N20")]
    read = store.read(state.epoch, [], asked, [])
    assert read.records == [{"seats": 200}, None, {"seats": None}]


@backends
def test_several_connections_may_write_at_once(open_stores, store, kind):
    """Four writers with the same events in different orders: each event once."""
    events = world(7)
    stores = [store, *(open_stores(kind) for _ in range(3))]
    accepted = []

    def send(number):
        mine = random.Random(number).sample(events, len(events))  # noqa: S311 - an order, not a secret
        accepted.append(sum(stores[number].add(mine[i : i + 40]).accepted for i in range(0, len(mine), 40)))

    threads = [threading.Thread(target=send, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(accepted) == len(events)
    assert_same(stores[-1], events)


@pytest.mark.unit
def test_an_address_of_another_kind_is_refused():
    """The sentence names the variable."""
    with pytest.raises(FlightlineError, match="FLIGHTLINE_ONLINE_STORE begins with 'mysql://'"):
        open_store("mysql://localhost")


@pytest.mark.unit
def test_a_store_that_cannot_be_opened_says_so(tmp_path):
    """A file where a folder must be, a file that is no database, and a port where nobody listens."""
    (tmp_path / "file").write_text("not a database, and long enough to be seen as none" * 40)
    for address in (str(tmp_path / "file" / "x.db"), str(tmp_path / "file"), "redis://127.0.0.1:1"):
        with pytest.raises(FlightlineError, match="online store"):
            open_store(address)
