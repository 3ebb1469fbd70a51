"""What is materialised and what comes after it, in both stores: together they give the values (S4)."""

import pytest

from contract.errors import FlightlineError
from serving.features.facts import microseconds
from serving.features.groups import plans
from serving.features.store import (
    Published,
    key_text,
)
from tests.serving.features.kept import (
    CONTRACT,
    GROUPS,
    assert_same,
    backends,
    base_of,
    event,
    held,
    materialised,
    values,
    world,
)
from tests.training.worlds import declared, minute, past


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
