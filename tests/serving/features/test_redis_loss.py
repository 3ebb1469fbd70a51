"""A Redis that lost its data, as one that is started anew without persistence."""

import pytest
import redis

from contract.errors import FlightlineError
from serving.features.completion import Completer
from serving.features.facts import microseconds
from serving.features.groups import plans
from serving.features.store import Held, Published, StoreError, key_text
from serving.rows import RowsRefusedError
from tests.serving.features.completed import CONTRACT, KEYS, STRICT, departure
from tests.serving.features.kept import GROUPS, event, held, materialised, values
from tests.training.worlds import minute

pytestmark = pytest.mark.redis

NOTHING = {"origin": "JFK", "delay": None, "rate": None, "seats": None}


@pytest.fixture
def lose(redis_server):
    """Lose everything: data, scripts, and the connections of all who are connected."""

    def lost():
        with redis.Redis.from_url(redis_server) as client:
            client.flushall()
            client.script_flush()
            client.client_kill_filter(_type="normal", skipme=True)

    return lost


@pytest.fixture
def completer(open_stores):
    """A completer over a Redis in which there is something to be found."""
    found = Completer(open_stores("redis"), cache_seconds=0)
    tell(found)
    return found


def tell(completer):
    """Materialise nothing but a plane, and send two departures."""
    store = completer.store
    groups = [plan.group for plan in plans(CONTRACT)]
    store.register(groups)
    generation, as_of = store.begin(), microseconds(minute(-10))
    store.put_records(generation, "planes", [(key_text(("N1",)), {"seats": 180})])
    told = {group.id: Held(group, ready=True, generation=generation, as_of=as_of) for group in groups}
    store.switch(generation, told, {"planes": Published(generation, as_of)})
    completer.accept([CONTRACT], [departure(1, minute(-5), 10), departure(2, minute(-1), 30)])


def one(completer, contract=CONTRACT):
    """One row completed at noon."""
    return completer.complete(contract, [{"origin": "JFK"}], [KEYS], [minute(0)], "row")


def test_what_was_lost_is_missing_until_it_is_there_again(completer, lose):
    """Null where that may be, else the row is refused; counted, and nobody need see to it."""
    assert one(completer).rows == [{"origin": "JFK", "delay": 20.0, "rate": 20.0, "seats": 180}]
    lose()
    found = one(completer)
    assert (found.rows, dict(found.missing)) == ([NOTHING], {"delay": 1, "rate": 1, "seats": 1})
    with pytest.raises(RowsRefusedError) as refused:
        one(completer, STRICT)
    assert {problem.field for problem in refused.value.problems} == {"row.delay", "row.seats"}
    tell(completer)
    assert one(completer).rows == [{"origin": "JFK", "delay": 20.0, "rate": 20.0, "seats": 180}]


def test_a_loss_while_rows_are_looked_up_is_a_loss_before(completer, lose, monkeypatch):
    """What is registered in vain is registered again."""
    lose()
    registered, register = [], completer.store.register

    def overtaken(groups):
        register(groups)
        if not registered:
            lose()
        registered.append(groups)

    monkeypatch.setattr(completer.store, "register", overtaken)
    assert one(completer).rows == [NOTHING]
    assert len(registered) == 2


def test_events_that_come_after_a_loss_are_taken_in(completer, lose):
    """By a worker that knew the store before; what it takes in is found by rows at once."""
    lose()
    assert completer.accept([CONTRACT], [departure(3, minute(-2), 50)]).accepted == 1
    assert one(completer).rows[0]["delay"] == 50.0


def test_what_is_there_after_a_loss_is_never_taken_for_what_was_before(open_stores, lose):
    """Not even where the same was done again: a worker that knows the old state is told to look again."""
    store, other = open_stores("redis"), open_stores("redis")
    store.register(GROUPS)
    materialised(store, [event(1, minute(-90), 1)], microseconds(minute(-60)))
    before = store.state()
    lose()
    other.register(GROUPS)
    materialised(other, [event(1, minute(-90), 1)], microseconds(minute(-70)))
    assert store.read(before.epoch, [], [], []) is None


def test_a_materialisation_that_a_loss_overtakes_is_refused(open_stores, lose):
    """Half of its base would be gone; the next one is a whole one."""
    store = open_stores("redis")
    store.register(GROUPS)
    materialised(store, [], microseconds(minute(-80)))
    generation = store.begin()
    lose()
    store.register(GROUPS)
    store.begin()  # somebody else's, after the loss
    with pytest.raises(FlightlineError, match="lost"):
        store.switch(generation, held(generation, microseconds(minute(-60))), {})
    materialised(store, [event(1, minute(-90), 7)], microseconds(minute(-60)))
    assert values(store, minute(0), origin="JFK", carrier="UA")["f6"] == 7


def test_an_event_that_a_loss_overtakes_is_to_be_sent_again(open_stores, lose, monkeypatch):
    """It is right: what its sender is told is no refusal of it, by which it would be thrown away."""
    store = open_stores("redis")
    store.register(GROUPS)
    script = store._script

    def overtaken(**words):
        monkeypatch.setattr(store, "_script", script)
        lose()
        return script(**words)

    monkeypatch.setattr(store, "_script", overtaken)
    with pytest.raises(StoreError, match="lost"):
        store.add([event(1, minute(-5), 4)])


@pytest.mark.parametrize("moment", ["before the log is read", "after it"])
def test_groups_that_are_lost_while_they_are_registered_are_said_to_be(
    open_stores, lose, monkeypatch, moment
):
    """They are not ready without a log; the next one registers them."""
    store = open_stores("redis")
    replay = store._replay

    def overtaken(groups):
        if moment == "after it":
            replay(groups)
        lose()
        if moment != "after it":
            replay(groups)

    with monkeypatch.context() as patched:
        patched.setattr(store, "_replay", overtaken)
        with pytest.raises(StoreError, match="lost"):
            store.register(GROUPS)
    store.register(GROUPS)
    assert all(item.ready for item in store.state().groups.values())
    assert store.add([event(1, minute(-5), 4)]).accepted == 1
