"""Rows that lack stored features: what they are filled with, and what is said where nothing is known."""

from datetime import timedelta

import msgspec
import numpy as np
import pytest

from contract.schema import Feature, Lookup
from serving.features.completion import PAUSE_S, Completer
from serving.features.facts import microseconds
from serving.features.groups import plans
from serving.features.store import Held, Published, StoreError, key_text, open_store
from serving.rows import RowsRefusedError
from tests.plugins.stores import BACKENDS
from tests.serving.features.completed import CONTRACT, KEYS, STRICT, departure
from tests.training.worlds import minute, past


@pytest.fixture(params=BACKENDS)
def store(open_stores, request):
    """Two departures, one of them materialised, and one plane; all of it as of noon less ten minutes."""
    found = open_stores(request.param)
    groups = [plan.group for plan in plans(CONTRACT)]
    found.register(groups)
    generation, as_of = found.begin(), microseconds(minute(-10))
    found.put_records(generation, "planes", [(key_text(("N1",)), {"seats": 180})])
    held = {group.id: Held(group, ready=True, generation=generation, as_of=as_of) for group in groups}
    found.switch(generation, held, {"planes": Published(generation, as_of)})
    found.add([departure(1, minute(-5), 10), departure(2, minute(-1), 30)])
    return found


@pytest.fixture
def completer(store):
    """A completer that keeps nothing."""
    return Completer(store, cache_seconds=0)


def one(completer, row, keys=None, at=None, contract=CONTRACT):
    """One row completed at noon, and what was counted."""
    return completer.complete(contract, [row], [keys], [minute(0) if at is None else at], "row")


def problems(completer, *arguments, **named):
    """What is refused of one row, by field."""
    with pytest.raises(RowsRefusedError) as refused:
        one(completer, *arguments, **named)
    return {problem.field: problem.found for problem in refused.value.problems}


def test_what_a_row_lacks_comes_from_the_store(completer):
    """An aggregate by a feature of the row, one by a key beside it, and a record."""
    found = one(completer, {"origin": "JFK"}, KEYS)
    assert found.rows == [{"origin": "JFK", "delay": 20.0, "rate": 20.0, "seats": 180}]
    assert (found.filled, found.missing.total(), found.stale.total()) == (3, 0, 0)


def test_each_row_is_completed_as_of_its_own_moment(completer):
    """Three minutes before noon one of the two had left."""
    found = completer.complete(CONTRACT, [{"origin": "JFK"}] * 2, [KEYS] * 2, [minute(-3), minute(0)])
    assert [row["delay"] for row in found.rows] == [10.0, 20.0]


def test_what_a_row_says_is_left_alone(completer):
    """Also where it says null."""
    row = {"origin": "JFK", "delay": 3.5, "rate": None}
    assert one(completer, row, KEYS).rows == [{**row, "seats": 180}]
    assert row == {"origin": "JFK", "delay": 3.5, "rate": None}


def test_a_row_that_says_everything_asks_nothing_of_the_store(completer):
    """Nor does a contract without stored features, such as that of iris."""
    whole = {"origin": "JFK", "delay": 1.0, "rate": None, "seats": 3}
    assert not completer.needed(CONTRACT, [whole, "no row"], [None, None])
    assert completer.needed(CONTRACT, [whole, {"origin": "JFK"}], [None, None])
    assert completer.needed(CONTRACT, [whole], [KEYS])
    plain = msgspec.structs.replace(CONTRACT, features=CONTRACT.features[:1])
    assert not completer.needed(plain, [{}], [None])
    completer.store.close()
    assert one(completer, whole, {}).rows == [whole]


def test_an_unknown_key_is_null_and_a_key_without_events_has_none(completer):
    """Null equals nothing; LGA saw no departure. Both are answers, a record that is not there is missing."""
    found = one(completer, {"origin": None}, {"flight": None, "tail": "N2"})
    assert found.rows == [{"origin": None, "delay": None, "rate": None, "seats": None}]
    assert (found.filled, dict(found.missing)) == (2, {"seats": 1})
    assert one(completer, {"origin": "LGA"}, KEYS).rows[0]["delay"] is None


def test_a_key_that_is_not_said_makes_its_features_missing(completer):
    """Null where that may be, and counted."""
    found = one(completer, {"origin": "JFK"})
    assert found.rows == [{"origin": "JFK", "delay": 20.0, "rate": None, "seats": None}]
    assert dict(found.missing) == {"rate": 1, "seats": 1}
    assert problems(completer, {"origin": "JFK"}, contract=STRICT) == {
        "row.seats": "nothing, and the online store has none"
    }


def test_what_is_stale_follows_the_contract(completer):
    """Half an hour after the last departure its mean is stale; the plane's record after an hour."""
    assert one(completer, {"origin": "JFK"}, KEYS, minute(29)).stale.total() == 0
    found = one(completer, {"origin": "JFK"}, KEYS, minute(29) + timedelta(microseconds=1))
    assert (dict(found.stale), found.rows[0]["delay"]) == ({"delay": 1}, None)
    found = one(completer, {"origin": "JFK"}, KEYS, minute(51))
    assert set(found.stale) == {"delay", "seats"}
    assert set(problems(completer, {"origin": "JFK"}, KEYS, minute(51), STRICT)) == {"row.delay", "row.seats"}
    assert completer.summary()["stale"] == {"toy.delay": 3, "toy.seats": 2}


@pytest.mark.unit
def test_a_store_that_heard_of_nothing_knows_nothing(open_stores):
    """No events and nothing materialised: that is no count of zero."""
    contract = msgspec.structs.replace(
        CONTRACT,
        features=(
            CONTRACT.features[0],
            Feature("count", "number", "", "stream", nullable=True, aggregate=past("count")),
        ),
    )
    completer = Completer(open_stores("sqlite"))
    found = one(completer, {"origin": "JFK"}, contract=contract)
    assert (found.rows[0]["count"], dict(found.missing)) == (None, {"count": 1})


@pytest.mark.unit
def test_a_batch_feature_that_was_never_materialised_is_missing(open_stores):
    """Its weeks cannot be known from the events of a minute; the state of the last hour can."""
    completer = Completer(open_stores("sqlite"), cache_seconds=0)
    completer.accept([CONTRACT], [departure(1, minute(-5), 10)])
    found = one(completer, {"origin": "JFK"}, KEYS)
    assert found.rows[0]["delay"] == 10.0
    assert dict(found.missing) == {"rate": 1, "seats": 1}


@pytest.mark.parametrize(
    ("keys", "field", "words"),
    [
        ({"fligt": 7}, "keys.fligt", "an unknown key, did you mean 'flight'?"),
        ({"origin": "JFK"}, "keys.origin", "an unknown key"),
        ({"flight": 7.5}, "keys.flight", "a fraction"),
        ({"flight": True}, "keys.flight", "a boolean"),
        ({"flight": 1 << 80}, "keys.flight", "a huge number"),
        ({"tail": "N" * 201}, "keys.tail", "a string of 201 characters"),
        ({"tail": ["N1"]}, "keys.tail", "an array"),
        ({"tail": {}}, "keys.tail", "an object"),
        ("N1", "keys", "no object"),
    ],
)
def test_a_key_that_cannot_be_one_is_refused(completer, keys, field, words):
    """The problem names it."""
    assert problems(completer, {"origin": "JFK"}, keys) == {field: words}


def test_a_row_that_is_none_is_left_to_whoever_decodes_it(completer):
    """So is one whose key is of the wrong kind."""
    rows = ["no row", {"origin": ["JFK"]}]
    found = completer.complete(CONTRACT, rows, [None, KEYS], [minute(0)] * 2)
    assert found.rows[0] == "no row"
    assert found.rows[1]["origin"] == ["JFK"]


def test_a_whole_number_is_one_key_however_it_is_written(store):
    """A feature that is a key comes as 7, as 7.0, or in 32 bits; 7.5 is no key, and finds nothing."""
    where = Lookup("rooms", ("room",), "floor")
    floor = Feature("floor", "number", "", "batch", nullable=True, lookup=where)
    room = Feature("room", "number", "")
    contract = msgspec.structs.replace(CONTRACT, features=(room, floor))
    generation, as_of = store.begin(), microseconds(minute(-10))
    store.put_records(generation, "rooms", [(key_text((7,)), {"floor": 3})])
    store.switch(generation, {}, {"rooms": Published(generation, as_of)})
    completer = Completer(store, cache_seconds=0)
    rows = [{"room": value} for value in (7, 7.0, float(np.float32(7)), 7.5)]
    found = completer.complete(contract, rows, [None] * 4, [minute(0)] * 4)
    assert [row["floor"] for row in found.rows] == [3, 3, 3, None]


def test_what_was_read_is_used_again(store):
    """A second row with the same keys at the same moment costs no look-up; another moment, or key, does."""
    completer = Completer(store, cache_seconds=60)
    one(completer, {"origin": "JFK"}, KEYS)
    store.add([departure(3, minute(-2), 100)])  # by another worker
    assert one(completer, {"origin": "JFK"}, KEYS).rows[0]["delay"] == 20.0
    assert completer.summary()["cache"] == {"keys": 3, "hits": 3, "misses": 3}
    assert one(completer, {"origin": "JFK"}, KEYS, minute(-1)).rows[0]["delay"] == 140 / 3
    assert one(completer, {"origin": "LGA"}, KEYS).rows[0]["delay"] is None


def test_another_workers_event_is_seen_when_the_time_is_over(store):
    """What was read before it is used for as long as the setting says, and no longer."""
    completer, now = Completer(store, cache_seconds=2.5), [100.0]
    completer.cache._clock = lambda: now[0]
    one(completer, {"origin": "JFK"}, KEYS)
    store.add([departure(3, minute(-2), 100)])
    now[0] += 2.4
    assert one(completer, {"origin": "JFK"}, KEYS).rows[0]["delay"] == 20.0
    now[0] += 0.1
    assert one(completer, {"origin": "JFK"}, KEYS).rows[0]["delay"] == 140 / 3


def test_a_worker_sees_at_once_what_it_took_in(store):
    """Its cache forgets."""
    completer = Completer(store, cache_seconds=60)
    one(completer, {"origin": "JFK"}, KEYS)
    completer.accept([CONTRACT], [departure(3, minute(-2), 100)])
    assert one(completer, {"origin": "JFK"}, KEYS).rows[0]["delay"] == 140 / 3


def test_a_new_generation_is_seen_by_a_completer_that_knew_the_old_one(store, completer):
    """It asks again where the state is another one."""
    assert one(completer, {"origin": "JFK"}, KEYS).rows[0]["seats"] == 180
    generation, as_of = store.begin(), microseconds(minute(-10))
    store.put_records(generation, "planes", [(key_text(("N1",)), {"seats": 190})])
    store.switch(generation, {}, {"planes": Published(generation, as_of)})
    assert one(completer, {"origin": "JFK"}, KEYS).rows[0]["seats"] == 190


class Broken:
    """A store that does not answer, in front of one that does."""

    def __init__(self, store):
        """Keep the one that does."""
        self._store, self.broken, self.asked = store, False, 0

    def __getattr__(self, name):
        """The store's own methods."""
        return getattr(self._store, name)

    def read(self, *arguments):
        """Fail while broken."""
        self.asked += 1
        if self.broken:
            raise StoreError("the store is away", "an answer", "Wait")
        return self._store.read(*arguments)


def test_while_the_store_is_away_rows_follow_the_contract_and_nobody_waits_twice(store):
    """All missing, counted, said in the summary; after a pause it is asked again."""
    broken = Broken(store)
    completer = Completer(broken, cache_seconds=0)
    now = [100.0]
    completer.cache._clock = lambda: now[0]
    broken.broken = True
    for _ in range(5):
        found = one(completer, {"origin": "JFK"}, KEYS)
        assert found.rows == [{"origin": "JFK", "delay": None, "rate": None, "seats": None}]
    assert broken.asked == 1
    summary = completer.summary()
    assert (summary["failures"], summary["missing"]["toy.delay"]) == (1, 5)
    assert "the store is away" in summary["error"]
    assert set(problems(completer, {"origin": "JFK"}, KEYS, contract=STRICT)) == {"row.delay", "row.seats"}
    broken.broken = False
    now[0] += PAUSE_S
    assert one(completer, {"origin": "JFK"}, KEYS).rows[0]["delay"] == 20.0
    assert completer.summary()["error"] == ""


@pytest.mark.unit
def test_a_service_starts_without_its_redis():
    """Nobody listens there: rows follow the contract, and the summary says why."""
    completer = Completer(open_store("redis://127.0.0.1:1"))
    found = one(completer, {"origin": "JFK"}, KEYS)
    assert found.rows == [{"origin": "JFK", "delay": None, "rate": None, "seats": None}]
    assert completer.summary()["failures"] == 1
    assert "the online store at redis://127.0.0.1:1 fails" in completer.summary()["error"]
    completer.close()
