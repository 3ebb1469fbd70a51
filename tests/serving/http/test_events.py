"""Events over HTTP, and the rows that are completed with what they say."""

from datetime import UTC, datetime, timedelta

import msgspec
import polars as pl
import pytest
from prometheus_client import generate_latest

from contract.segments import live_segments
from serving.features.facts import microseconds
from serving.features.store import Published, StoreError, key_text
from tests.serving.http.bad_inputs.world import HEIGHT, shop_contract

pytestmark = pytest.mark.unit

NOON = datetime(2013, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def shop(make_host, make_bundle):
    """A host whose model counts sales by letter and looks up shelves; its clock is the request's."""
    host = make_host(clock="request")
    host.serve(make_bundle(contract=shop_contract()))
    store = host.completer.store
    generation = store.begin()
    store.put_records(generation, "shelves", [(key_text((3,)), {"height": 1.5})])
    store.switch(generation, {}, {"shelves": Published(generation, 0)})
    return host


def sale(number, minutes, pieces, letter="A", **other):
    """A sale so many minutes before noon."""
    at = (NOON - timedelta(minutes=minutes)).isoformat()
    return {
        "id": f"s{number}",
        "stream": "sales",
        "at": at,
        "facts": {"letter": letter, "pieces": pieces},
        **other,
    }


def post(host, *events):
    """The answer to some events."""
    return host.client.post("/events", {"events": list(events)})


def test_a_row_is_completed_with_what_events_said(shop):
    """Two pieces and three in the hour before, and a record under a key beside the row (S3, S4)."""
    assert post(shop, sale(1, 5, 2), sale(2, 59, 3), sale(3, 60, 4)).json()["accepted"] == 3
    body = {"row": {"letter": "A"}, "keys": {"shelf": 3}, "at": NOON.isoformat()}
    assert shop.client.post("/predict", body).status_code == 200
    whole = {"row": {"letter": "A", "width": 5, "height": 1.5}, "at": NOON.isoformat()}
    completed, sent = shop.client.post("/predict", body).json(), shop.client.post("/predict", whole).json()
    assert completed["scores"] == sent["scores"]


def test_a_batch_is_completed_row_by_row(shop):
    """Each as of its own moment and with its own keys, null where there are none."""
    post(shop, sale(1, 5, 2), sale(2, 1, 3))
    body = {
        "rows": [{"letter": "A"}] * 3,
        "keys": [{"shelf": 3}, None, {"shelf": 4}],
        "at": [(NOON - timedelta(minutes=m)).isoformat() for m in (3, 0, 0)],
    }
    found = shop.client.post("/predict_batch", body).json()
    rows = [{"letter": "A", "width": w, "height": h} for w, h in ((2, 1.5), (5, None), (5, None))]
    whole = shop.client.post("/predict_batch", {"rows": rows}).json()
    assert found["scores"] == whole["scores"]


def test_the_log_tells_what_was_sent_from_what_was_looked_up(shop):
    """Keys, the values as used, and the names of those that the caller did not bring; none of a whole row."""
    post(shop, sale(1, 5, 2))
    moment = NOON.isoformat()
    lacking, whole = {"letter": "A"}, {"letter": "A", "width": 5, "height": 1.5}
    shop.client.post("/predict", {"row": lacking, "keys": {"shelf": 3}, "at": moment, "id": "a"})
    shop.client.post("/predict", {"row": whole, "at": moment, "id": "b"})
    shop.client.post("/predict_batch", {"rows": [lacking, whole], "at": [moment] * 2, "ids": ["c", "d"]})
    shop.log.close()
    logged = pl.read_parquet(live_segments(shop.settings.predictions / "toy")).sort("entity_id")
    assert logged["keys"].to_list() == ['{"shelf": 3}', None, None, None]
    assert logged["filled"].to_list() == [["width", "height"], [], ["width", "height"], []]
    assert logged["feature.width"].to_list() == [2, 5, 2, 5]


def test_what_is_missing_is_counted_and_shown(shop):
    """In the metrics by feature, and in /status."""
    post(shop, sale(1, 5, 2))
    assert shop.client.post("/predict", {"row": {"letter": "A"}, "at": NOON.isoformat()}).status_code == 200
    status = shop.client.get("/status").json()["online_store"]
    assert status["missing"] == {"toy.height": 1}
    assert (status["rows"], status["filled"]) == (1, 1)
    assert status["streams"]["sales"]["accepted"] == 1
    count = shop.metrics.registry.get_sample_value
    assert count("flightline_online_features_total", {"model": "toy"}) == 1
    missing = {"model": "toy", "feature": "height"}
    assert count("flightline_online_features_missing_total", missing) == 1


def test_what_is_too_old_is_counted_by_feature(make_host, make_bundle):
    """A record of an hour ago at the hour, and not a moment later; it is stale then, and not missing."""
    height = msgspec.structs.replace(HEIGHT, stale_after_minutes=60)
    booked, _, letter = shop_contract().features
    host = make_host(clock="request")
    host.serve(
        make_bundle(contract=msgspec.structs.replace(shop_contract(), features=(booked, height, letter)))
    )
    store = host.completer.store
    generation = store.begin()
    store.put_records(generation, "shelves", [(key_text((3,)), {"height": 1.5})])
    store.switch(generation, {}, {"shelves": Published(generation, microseconds(NOON - timedelta(hours=1)))})
    post(host, sale(1, 5, 2))
    for late in (0, 1):
        at = (NOON + timedelta(microseconds=late)).isoformat()
        body = {"row": {"letter": "A"}, "keys": {"shelf": 3}, "at": at}
        assert host.client.post("/predict", body).status_code == 200
    text = generate_latest(host.metrics.registry).decode()
    assert 'flightline_online_features_stale_total{feature="height",model="toy"} 1.0' in text
    assert 'flightline_online_features_total{model="toy"} 3.0' in text
    assert "flightline_online_features_missing_total{" not in text


def test_a_feature_that_may_not_be_null_is_refused_where_nothing_is_known(shop):
    """The problem names it."""
    answer = shop.client.post("/predict", {"row": {"letter": "A"}})
    assert answer.status_code == 422
    (problem,) = answer.json()["problems"]
    assert (problem["field"], problem["found"]) == ("row.width", "nothing, and the online store has none")


def test_the_answer_counts_what_became_of_the_events(shop):
    """Accepted, duplicate, conflicting, late."""
    assert post(shop, sale(1, 5, 2), sale(2, 9, 2)).json() == {
        "accepted": 2,
        "duplicates": 0,
        "conflicting": 0,
        "late": 1,
        "covered": 0,
    }
    again = post(shop, sale(1, 5, 2), sale(2, 9, 3)).json()
    assert (again["accepted"], again["duplicates"], again["conflicting"]) == (0, 2, 1)


def test_before_a_model_is_ready_events_are_to_be_sent_again(make_host):
    """503 and when: nobody knows yet which streams there are."""
    answer = post(make_host(), sale(1, 1, 1))
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")


def test_while_the_store_is_away_events_are_to_be_sent_again(shop, monkeypatch):
    """503 and when; sending them again later is safe."""

    def away(_):
        raise StoreError("the store is away", "an answer", "Wait")

    with monkeypatch.context() as patched:
        patched.setattr(shop.completer.store, "add", away)
        answer = post(shop, sale(1, 1, 1))
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert post(shop, sale(1, 1, 1)).json()["accepted"] == 1


@pytest.mark.parametrize(
    ("keys", "field"),
    [
        ({"shelves": 3}, "keys.shelves"),
        ({"shelf": 1.5}, "keys.shelf"),
        ({"shelf": [3]}, "keys.shelf"),
        ({"width": 3}, "keys.width"),
    ],
)
def test_wrong_keys_are_refused(shop, keys, field):
    """In one row and in a batch, also where the row brings everything."""
    row = {"letter": "A", "width": 1, "height": 1}
    answer = shop.client.post("/predict", {"row": row, "keys": keys})
    assert answer.status_code == 422
    assert [problem["field"] for problem in answer.json()["problems"]] == [field]
    answer = shop.client.post("/predict_batch", {"rows": [row, row], "keys": [None, keys]})
    assert [problem["field"] for problem in answer.json()["problems"]] == [field.replace("keys", "keys[1]")]
    answer = shop.client.post("/predict_batch", {"rows": [row], "keys": []})
    assert answer.status_code == 422


def test_a_model_without_stored_features_takes_no_keys_and_no_events(host):
    """The toy of the other tests has none."""
    row = {"width": 1.5, "height": 0.25, "letter": "A"}
    assert host.client.post("/predict", {"row": row, "keys": {}}).status_code == 200
    assert host.client.post("/predict", {"row": row, "keys": {"shelf": 1}}).status_code == 422
    assert post(host, sale(1, 1, 1)).status_code == 422
    assert "/events" not in host.client.get("/openapi.json").json()["paths"]


def test_openapi_describes_events_and_keys(shop):
    """The streams and keys of what is loaded."""
    paths = shop.client.get("/openapi.json").json()["paths"]
    body = paths["/events"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert body["properties"]["events"]["items"]["properties"]["stream"]["enum"] == ["sales"]
    predict = paths["/predict"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert list(predict["properties"]["keys"]["properties"]) == ["shelf"]
