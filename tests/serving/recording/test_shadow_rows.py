"""What callers left to the online store is looked up for a shadow, too, as it would be for a canary."""

import threading
from datetime import UTC, datetime

import msgspec
import polars as pl
import pytest

from contract.schema import Lookup
from serving.features.sqlite_store import SqliteStore
from serving.features.store import Published, StoreError, key_text
from tests.conftest import toy_contract
from tests.serving.http.bad_inputs.world import BOOKED, HEIGHT, shop_contract
from tests.serving.recording.shadows import count, logged, shadowed, until

pytestmark = pytest.mark.unit

NOON = datetime(2013, 1, 1, 12, tzinfo=UTC)
LETTER, TOLD = toy_contract("toy").features[2], toy_contract("toy").features[1]  # TOLD: a height that is sent
DEPTH = msgspec.structs.replace(HEIGHT, lookup=Lookup("shelves", ("shelf",), "depth"))
ASKED = {"row": {"letter": "A"}, "keys": {"shelf": 3}, "at": NOON.isoformat()}


def shop(*features):
    """A contract of these and a letter."""
    return msgspec.structs.replace(shop_contract(), features=(*features, LETTER))


@pytest.fixture
def serve(make_host, make_bundle):
    """A host with a champion and a shadow of these contracts; five pieces of A are sold, a shelf is known."""

    def made(champion, shadow):
        host = make_host(clock="request")
        host.serve(make_bundle(contract=champion))
        shadowed(host, make_bundle(contract=shadow, seed=2))
        store = host.completer.store
        generation = store.begin()
        store.put_records(generation, "shelves", [(key_text((3,)), {"height": 1.5, "depth": 2.5})])
        store.switch(generation, {}, {"shelves": Published(generation, 0)})
        facts = {"letter": "A", "pieces": 5}
        event = {"id": "s1", "stream": "sales", "at": NOON.isoformat(), "facts": facts}
        assert host.client.post("/events", {"events": [event]}).status_code == 200
        return host

    return made


def only_shadow(host):
    """Its one line in the log."""
    return logged(host).row(by_predicate=pl.col("role") == "shadow", named=True)


@pytest.mark.parametrize("row", [{"letter": "A"}, {"letter": "A", "height": 1.5}])
def test_a_feature_that_only_the_shadow_has_is_looked_up(serve, row):
    """It answers as it does when it is asked by name; the log says that no caller brought the value."""
    host = serve(shop(HEIGHT), shop(BOOKED, HEIGHT))
    named = host.client.post("/predict?version=2", {**ASKED, "row": row}).json()
    assert host.client.post("/predict", {**ASKED, "row": row}).status_code == 200
    found = only_shadow(host)
    assert (found["feature.width"], found["feature.height"]) == (5, 1.5)
    assert found["filled"] == ["width", *({"height"} - row.keys())]
    assert [found[f"score.{name}"] for name in named["scores"]] == list(named["scores"].values())
    assert count(host, "agreed") + count(host, "differed") == 1


def test_a_feature_that_the_shadow_declares_otherwise_is_looked_up_anew(serve):
    """One name, two windows or values: what the champion's declaration gives is not the shadow's."""
    host = serve(shop(BOOKED, HEIGHT), shop(BOOKED, DEPTH))
    assert host.client.post("/predict", ASKED).status_code == 200
    found = only_shadow(host)
    assert (found["feature.width"], found["feature.height"]) == (5, 2.5)
    assert (found["filled"], found["keys"]) == (["width", "height"], '{"shelf": 3}')


def test_what_a_caller_brought_is_not_looked_up(serve):
    """As for the champion."""
    host = serve(shop(BOOKED, HEIGHT), shop(BOOKED, DEPTH))
    row = {"letter": "A", "width": 1, "height": 4}
    assert host.client.post("/predict", {**ASKED, "row": row}).status_code == 200
    assert only_shadow(host)["feature.height"] == 4


def test_where_the_store_does_not_answer_a_shadow_has_failed(serve, monkeypatch):
    """What it would have said to a caller is not known, so nothing is compared."""
    host = serve(shop(HEIGHT), shop(msgspec.structs.replace(BOOKED, nullable=True), HEIGHT))
    read = SqliteStore.read

    def away(self, *asked):
        if threading.current_thread().name == "shadows":
            raise StoreError("the store is away", "an answer", "Wait")
        return read(self, *asked)

    monkeypatch.setattr(SqliteStore, "read", away)
    for _ in range(2):
        assert host.client.post("/predict", ASKED).status_code == 200
    until(lambda: count(host, "failed") == 2)
    assert set(logged(host)["role"]) == {"answer"}
    assert count(host, "agreed") + count(host, "differed") == 0


def test_a_caller_whom_the_shadow_would_refuse_is_a_failure(serve):
    """For a key that it does not know: as a canary it would answer 422."""
    host = serve(shop(BOOKED, HEIGHT), shop(BOOKED, TOLD))
    assert host.client.post("/predict?version=2", ASKED).status_code == 422
    assert host.client.post("/predict", ASKED).status_code == 200
    until(lambda: count(host, "failed") == 1)


def test_a_shadow_that_needs_nothing_opens_no_store(serve):
    """A connection costs memory, and most shadows have their champion's features."""
    host = serve(shop(BOOKED, HEIGHT), shop(BOOKED, HEIGHT))
    assert host.client.post("/predict", ASKED).status_code == 200
    assert only_shadow(host)["filled"] == ["width", "height"]
    assert host.log._shadow_rows._completer is None
