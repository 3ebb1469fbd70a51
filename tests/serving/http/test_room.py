"""How much is let in at once, whatever way it comes: the hot path, the application behind it, events."""

import json
from typing import Any

import pytest

from serving.http.limits import Limits
from serving.models.predictor import Predictor
from tests.serving.http.bad_inputs.world import shop_contract
from tests.serving.http.conftest import Both
from tests.serving.http.ways import ID, JSON, alike, batch, together

pytestmark = pytest.mark.unit

CHARSET = ("content-type", "application/json; charset=utf-8")
ROWS = 15  # of each batch here: two of them are more than the limit
AT_ONCE = Limits(rows=20)


@pytest.fixture
def shop(make_host, make_bundle, in_front) -> Both:
    """Both ways to a model with stored features, one of which may be null."""
    host = make_host(clock="request")
    host.serve(make_bundle(contract=shop_contract()))
    both: Both = in_front(host, AT_ONCE)
    return both


def lacking(rows: int) -> bytes:
    """A batch whose rows leave a stored feature to the service."""
    return json.dumps({"rows": [{"letter": "A", "width": 1}] * rows}).encode()


def events(count: int) -> bytes:
    """The body of some events."""
    facts = {"letter": "A", "pieces": 1}
    one = {"stream": "sales", "at": "2013-01-01T12:00:00Z", "facts": facts}
    return json.dumps({"events": [{"id": f"s{number}", **one} for number in range(count)]}).encode()


def nothing_is_left(both: Both) -> bool:
    """Whether everybody was let go of."""
    admission = both.hot._admission
    return admission.requests == admission.rows == 0


def test_rows_that_are_completed_have_the_limit_of_all_others(shop) -> None:
    """Two batches that lack a stored feature do not fit together; afterwards each of them does."""
    send = {"path": "/predict_batch", "headers": [JSON, ID]}
    heard = together(*(shop.send([lacking(ROWS)], **send) for _ in range(2)))
    assert [one.status for one in heard] == [200, 503]
    assert shop.passed_on == ["/predict_batch"] * 2
    assert together(shop.send([lacking(ROWS)], **send))[0].status == 200
    assert nothing_is_left(shop)


@pytest.mark.parametrize("first", [JSON, CHARSET], ids=["hot", "ordinary"])
def test_both_ways_share_one_limit_and_refuse_alike(host, in_front, first) -> None:
    """Rows of the one leave no room on the other, and both say so with the same bytes and headers."""
    both = in_front(host, AT_ONCE)
    held, *refused = together(
        *(
            both.send([batch(ROWS)], path="/predict_batch", headers=[kind, ID])
            for kind in (first, JSON, CHARSET)
        )
    )
    assert held.status == 200
    assert [one.status for one in refused] == [503, 503]
    assert refused[0].headers["retry-after"] == "1"
    alike(*refused)
    count = host.metrics.registry.get_sample_value
    host.metrics.flush()
    assert count("flightline_refused_requests_total", {"status": "503"}) == 2
    assert nothing_is_left(both)


def test_rows_that_the_hot_path_gives_back_are_counted_once(host, in_front, monkeypatch) -> None:
    """A batch whose run failed has room on the ordinary way: the hot path has let go of it."""
    both = in_front(host, AT_ONCE)
    real, failures = Predictor.predict, ["the first run"]

    def predict(self: Predictor, numbers: Any, categories: Any) -> Any:
        if failures:
            raise RuntimeError(failures.pop())
        return real(self, numbers, categories)

    monkeypatch.setattr(Predictor, "predict", predict)
    assert together(both.send([batch(ROWS)], path="/predict_batch"))[0].status == 200
    assert (failures, both.passed_on) == ([], ["/predict_batch"])
    assert nothing_is_left(both)


@pytest.mark.parametrize("kind", ["Application/JSON", "\xa0application/json"])
def test_the_spelling_of_a_content_type_is_no_way_round_the_limit(host, in_front, kind) -> None:
    """In capitals, or behind a blank that is none of HTTP's, it is as good, and counts as any other."""
    both = in_front(host, Limits(requests=1))
    send = {"path": "/predict_batch", "headers": [("content-type", kind), ID]}
    with both.hot._admission.request():
        assert together(both.send([batch(1)], **send))[0].status == 503
    assert together(both.send([batch(1)], **send))[0].status == 200


@pytest.mark.parametrize("body", [events(1), b"{"], ids=["good", "bad"])
def test_events_count_among_the_requests(shop, body) -> None:
    """While others hold every place they get the refusal of a prediction, before they are decoded."""
    admission, send = shop.hot._admission, {"path": "/events", "headers": [JSON, ID]}
    admission.requests = admission.most_requests
    refused, prediction = together(
        shop.send([body], **send), shop.send([batch(1)], path="/predict_batch", headers=[JSON, ID])
    )
    assert refused.status == 503
    alike(refused, prediction)
    admission.requests = 0
    assert together(shop.send([events(1)], **send))[0].status == 200
    assert nothing_is_left(shop)


def test_the_events_of_a_long_request_count_among_the_rows(shop) -> None:
    """Two long requests do not fit together, a short one does, and whatever is let in is let go of."""
    heard = together(*(shop.send([events(count)], path="/events") for count in (ROWS, ROWS, 1)))
    assert [one.status for one in heard] == [200, 503, 200]
    assert together(shop.send([events(ROWS)], path="/events"))[0].status == 200
    assert together(shop.send([b'{"events": []}'], path="/events"))[0].status == 422
    assert nothing_is_left(shop)
