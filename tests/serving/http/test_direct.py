"""What arrives whole is answered with the bytes that an ASGI task would have sent, and in its order."""

import asyncio
import json
from typing import Any

import pytest

from serving.models.predictor import Predictor
from tests.serving.http.whole_requests import GOOD, ROW, SECONDS, Recorder, hear, post

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    "request_",
    [
        GOOD,
        post({"row": ROW, "id": "UA1"}),
        post({"row": {**ROW, "height": None, "letter": None}}, path=b"/predict?model=toy"),
        post({"row": {**ROW, "height": 1e6}}, b"user-agent: x", b"accept: */*"),
    ],
)
def test_a_good_request_is_answered_alike_without_a_task(both, in_tasks, request_) -> None:
    """Status line, headers, their order and the body: the same bytes on both ways (S3)."""
    direct = asyncio.run(hear(both, [request_]))
    assert in_tasks == []
    assert direct == asyncio.run(hear(both, [request_], offered=False))
    assert in_tasks == ["/predict"]
    assert direct.startswith(b"HTTP/1.1 200 OK\r\ndate: Mon, 01 Apr 2013")


ODD = {
    "another path": [post({"row": ROW}, path=b"/predictable")],
    "a batch": [post({"rows": [ROW]}, path=b"/predict_batch")],
    "a fragment": [post({"row": ROW}, path=b"/predict?a#b")],
    "another method": [GOOD.replace(b"POST", b"PUT", 1)],
    "an old version": [post({"row": ROW}, version=b"1.0")],
    "an old version that goes on": [post({"row": ROW}, b"connection: keep-alive", version=b"1.0")],
    "the last of its connection": [post({"row": ROW}, b"connection: close")],
    "a header twice": [post({"row": ROW}, b"x-request-id: r-2")],
    "a trace": [post({"row": ROW}, b"traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")],
    "an encoding": [post({"row": ROW}, b"content-encoding: identity")],
    "not JSON": [post(b"{")],
    "a wrong value": [post({"row": {**ROW, "width": "wide"}})],
    "a missing feature": [post({"row": {"width": 1}})],
    "no such model": [post({"row": ROW}, path=b"/predict?model=tyo")],
    "too large": [post({"row": ROW, "id": "x" * 70_000})],
    "a head and then its body": [GOOD[:-20], GOOD[-20:]],
    "a head in two parts": [GOOD[:30], GOOD[30:]],
}


@pytest.mark.parametrize("name", ODD)
def test_what_is_odd_is_answered_in_a_task_as_before(both, in_tasks, name) -> None:
    """Whether it is good or bad, its bytes are those of an application that offers nothing."""
    direct = asyncio.run(hear(both, ODD[name]))
    if name != "a head in two parts":  # whole, when its end is there
        assert len(in_tasks) == 1
    assert direct == asyncio.run(hear(both, ODD[name], offered=False))
    assert direct.startswith(b"HTTP/1.1 ")


def test_requests_in_a_row_are_answered_in_their_order(both) -> None:
    """Sent at once, good, bad, good: each answer has the id of its request."""
    requests = [GOOD, post(b"{", request_id=b"r-2"), post({"row": ROW}, request_id=b"r-3"), GOOD]
    said = asyncio.run(hear(both, [b"".join(requests)], answers=4))
    assert said == asyncio.run(hear(both, [b"".join(requests)], answers=4, offered=False))
    ids = [part[:3] for part in said.split(b"x-request-id: ")[1:]]
    assert ids == [b"r-1", b"r-2", b"r-3", b"r-1"]


def test_two_callers_of_a_turn_are_answered_by_one_run(both, monkeypatch) -> None:
    """Whichever way they come: one by a task, and one without."""
    seen: list[int] = []
    real = Predictor.predict

    def predict(self: Predictor, numbers: Any, categories: Any) -> Any:
        seen.append(len(numbers))
        return real(self, numbers, categories)

    monkeypatch.setattr(Predictor, "predict", predict)
    heard = Recorder()

    async def scene() -> None:
        task = asyncio.create_task(both.send([json.dumps({"row": ROW}).encode()]))
        await asyncio.sleep(0)
        headers = {b"content-type": b"application/json"}
        assert both.hot.take(headers, b"", json.dumps({"row": ROW}).encode(), heard)
        assert (await asyncio.wait_for(task, SECONDS)).status == 200

    asyncio.run(scene())
    assert seen == [2]
    assert len(heard.bodies) == 1
