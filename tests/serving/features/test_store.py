"""Both stores, by one suite: whatever the order and the duplicates, the values are the same."""

import random
import threading

import pytest

from contract.errors import FlightlineError
from serving.features.facts import microseconds
from serving.features.store import (
    Counted,
    Event,
    EventError,
    open_store,
)
from tests.serving.features.kept import (
    GROUPS,
    assert_same,
    backends,
    event,
    values,
    world,
)
from tests.training.worlds import minute


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


@backends
def test_many_may_open_a_new_store_at_once(store_address, kind):
    """As the workers of a service do when it first starts: each of them succeeds."""
    address = store_address(kind)
    together, opened = threading.Barrier(8), []

    def opening():
        together.wait(20)
        opened.append(open_store(address))
        opened[-1].register(GROUPS)

    threads = [threading.Thread(target=opening) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [len(store.state().groups) for store in opened] == [len(GROUPS)] * 8
    for store in opened:
        store.close()


@pytest.mark.unit
def test_an_address_of_another_kind_is_refused():
    """The sentence names the variable."""
    with pytest.raises(FlightlineError, match="FLIGHTLINE_ONLINE_STORE begins with 'mysql://'"):
        open_store("mysql://localhost")


@pytest.mark.unit
def test_a_store_that_cannot_be_opened_says_so(tmp_path):
    """A file where a folder must be, and a file that is no database; of Redis it is said when it is asked."""
    (tmp_path / "file").write_text("not a database, and long enough to be seen as none" * 40)
    for address in (str(tmp_path / "file" / "x.db"), str(tmp_path / "file")):
        with pytest.raises(FlightlineError, match="online store"):
            open_store(address)
    nobody = open_store("redis://:secret@127.0.0.1:1")
    with pytest.raises(FlightlineError, match=r"the online store at 127\.0\.0\.1:1 fails"):
        nobody.state()
    nobody.close()
