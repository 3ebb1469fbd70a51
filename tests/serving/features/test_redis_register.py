"""Groups that are registered in Redis while somebody else changes what it holds."""

import pytest
import redis

from serving.features.facts import microseconds
from tests.serving.features.kept import GROUPS, event, materialised, values
from tests.training.worlds import minute

pytestmark = pytest.mark.redis


@pytest.mark.parametrize("meanwhile", ["the log is read", "what is kept is looked at"])
def test_a_registration_leaves_alone_what_was_materialised_meanwhile(open_stores, monkeypatch, meanwhile):
    """Whoever is slow to read the log does not set the group back to a state without a base."""
    store, other = open_stores("redis"), open_stores("redis")
    events, as_of = [event(1, minute(-90), 3), event(2, minute(-20), 4)], microseconds(minute(-60))
    store.state()
    replay, looked = store._replay, []

    def overtaken(groups):
        count = replay(groups)
        if meanwhile == "the log is read":
            materialised(other, events, as_of)
        return count

    monkeypatch.setattr(store, "_replay", overtaken)
    if meanwhile != "the log is read":
        multi = redis.client.Pipeline.multi

        def late(pipe):
            if not looked:
                looked.append(pipe)
                materialised(other, events, as_of)
            multi(pipe)

        monkeypatch.setattr(redis.client.Pipeline, "multi", late)
    store.register(GROUPS)
    assert {item.as_of for item in store.state().groups.values()} == {as_of}
    store.add(events)
    assert values(store, minute(0), origin="JFK", carrier="UA")["f6"] == 7


def test_what_is_pruned_while_the_log_is_read_is_not_said_to_be_known(open_stores, monkeypatch):
    """By one who did not know the new group yet: its windows begin where the log does."""
    store, other = open_stores("redis"), open_stores("redis")
    first, second = GROUPS[:1], GROUPS[1:]
    store.register(first)
    as_of = microseconds(minute(-60))
    materialised(other, [], as_of, groups=first)
    before, replay = other.state(), store._replay

    def overtaken(groups):
        with monkeypatch.context() as patched:
            patched.setattr(other, "state", lambda: before)
            other.prune_log(as_of)
        return replay(groups)

    monkeypatch.setattr(store, "_replay", overtaken)
    store.register(second)
    found = store.state().groups
    assert [found[group.id].since for group in second] == [as_of] * len(second)
