"""What arrives whole is answered with the bytes that an ASGI task would have sent, and in its order."""

import asyncio
import json
from collections.abc import Iterator, Sequence
from typing import Any

import httptools
import numpy as np
import polars as pl
import pytest
import uvicorn
from uvicorn.server import ServerState

from serving.http.limits import Limits
from serving.http.whole import OFFER, Caller, Offer
from serving.http.wire import protocol
from serving.models.predictor import Predictor

pytestmark = pytest.mark.unit

ROW = {"width": 1.5, "height": 0.25, "letter": "A"}
SECONDS = 20  # for an answer
DATE = [(b"date", b"Mon, 01 Apr 2013 10:00:00 GMT")]


def post(
    body: Any, *more: bytes, path: bytes = b"/predict", version: bytes = b"1.1", request_id: bytes = b"r-1"
) -> bytes:
    """A request whose id is given, so that two answers to it may be equal."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [b"host: x", b"content-type: application/json", b"x-request-id: %b" % request_id, *more]
    head = b"POST %b HTTP/%b\r\n%b\r\n" % (path, version, b"\r\n".join(lines))
    return head + b"content-length: %d\r\n\r\n%b" % (len(data), data)


GOOD = post({"row": ROW})


class Reader:
    """Counts answers, by the same parser as the server's, turned round."""

    def __init__(self) -> None:
        """None yet."""
        self.count = 0
        self.parser = httptools.HttpResponseParser(self)

    def on_message_complete(self) -> None:
        """One more."""
        self.count += 1


async def hear(
    both: Any, parts: Sequence[bytes], *, answers: int = 1, offered: bool = True, take: Any = None
) -> bytes:
    """The bytes of `answers` answers, or all up to the end of the connection, to what is sent in `parts`."""
    config = uvicorn.Config(both.hot, ws="none", log_level="critical", access_log=False)
    config.load()
    server, make = ServerState(), protocol({})
    server.default_headers = DATE
    state = {OFFER: Offer(b"/predict", take or both.hot.take)} if offered else {}
    listening = await asyncio.get_running_loop().create_server(
        lambda: make(config=config, server_state=server, app_state=state), "127.0.0.1", 0
    )
    reader, writer = await asyncio.open_connection(*listening.sockets[0].getsockname())
    for part in parts:
        writer.write(part)
        await writer.drain()
        for _ in range(20):  # turns of the loop, so that it arrives by itself
            await asyncio.sleep(0)
    said, heard = b"", Reader()
    while heard.count < answers:
        data = await asyncio.wait_for(reader.read(65536), SECONDS)
        if not data:
            break
        said += data
        heard.parser.feed_data(data)
    writer.close()
    listening.close()
    return said


@pytest.fixture
def in_tasks(both, monkeypatch) -> Iterator[list[str]]:
    """The paths of requests that came to the hot path as ASGI calls."""
    seen: list[str] = []
    real = type(both.hot).__call__

    async def watched(self: Any, scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["path"])
        await real(self, scope, receive, send)

    monkeypatch.setattr(type(both.hot), "__call__", watched)
    return seen


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


class Recorder:
    """A caller that keeps what it hears."""

    def __init__(self, *, disconnected: bool = False) -> None:
        """Nothing heard yet."""
        self.disconnected = disconnected
        self.bodies: list[bytes] = []
        self.given_back = 0

    def answer(self, fields: bytes, request_id: bytes, body: bytes, status: int = 200) -> None:  # noqa: ARG002 - a Caller's
        """One answer."""
        self.bodies.append(body)

    def give_back(self) -> None:
        """None."""
        self.given_back += 1


def test_who_goes_away_is_not_answered_nor_logged(both) -> None:
    """And makes room for others."""
    callers = [Recorder(), Recorder(disconnected=True), Recorder()]

    async def scene() -> None:
        for index, caller in enumerate(callers):
            data = json.dumps({"row": ROW, "id": f"caller-{index}"}).encode()
            assert both.hot.take({b"content-type": b"application/json"}, b"", data, caller)
        assert both.hot._admission.requests == 3
        await asyncio.sleep(0)

    asyncio.run(scene())
    assert [len(caller.bodies) for caller in callers] == [1, 0, 1]
    assert both.hot._admission.requests == 0
    both.host.log.close()
    logged = pl.read_parquet(both.host.settings.predictions / "toy" / "*.parquet")["entity_id"].to_list()
    assert logged == ["caller-0", "caller-2"]


def test_beyond_the_limit_the_refusal_is_the_same_without_a_task(host, in_front, in_tasks) -> None:
    """A refusal that cost more than an answer would make an overload worse (S5)."""
    both = in_front(host, Limits(requests=1))
    assert both.hot._admission.enter()
    direct = asyncio.run(hear(both, [GOOD]))
    assert in_tasks == []
    assert direct == asyncio.run(hear(both, [GOOD], offered=False))
    assert in_tasks == ["/predict"]
    assert direct.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert b"\r\nretry-after: 1\r\n" in direct
    both.hot._admission.leave()
    assert asyncio.run(hear(both, [GOOD])).startswith(b"HTTP/1.1 200 OK")
    assert both.host.metrics._statuses["503"] == 2


def test_who_was_refused_and_has_gone_is_not_counted(host, in_front) -> None:
    """Nobody was told anything."""
    both = in_front(host, Limits(requests=1))
    assert both.hot._admission.enter()
    callers = [Recorder(disconnected=True), Recorder()]

    async def scene() -> None:
        for caller in callers:
            assert both.hot.take({b"content-type": b"application/json"}, b"", b"{}", caller)
        while not callers[1].bodies:  # noqa: ASYNC110 - another callback of the loop
            await asyncio.sleep(0)

    asyncio.run(scene())
    assert callers[0].bodies == []
    assert both.host.metrics._statuses["503"] == 1


@pytest.mark.parametrize("more", [b"", post({"row": ROW}, request_id=b"r-2")])
def test_what_the_model_fails_at_is_answered_in_a_task(both, in_tasks, monkeypatch, more) -> None:
    """The task finds out and says 500, and what was sent behind it is answered after it."""
    real = Predictor.predict
    failing = [True, True]  # the run of the turn, and that of the task

    def predict(self: Predictor, numbers: Any, categories: Any) -> Any:
        labels, scores = real(self, numbers, categories)
        return labels, np.full_like(scores, np.nan) if failing and failing.pop() else scores

    monkeypatch.setattr(Predictor, "predict", predict)
    failing.append(True)  # the hot path of the task, before the application behind it
    said = asyncio.run(hear(both, [GOOD + more], answers=2 if more else 1))
    assert said.startswith(b"HTTP/1.1 500 ")
    assert said.count(b"HTTP/1.1 200 ") == (1 if more else 0)
    assert in_tasks[0] == "/predict"


def test_a_defect_of_the_offer_is_no_bad_request(both, in_tasks) -> None:
    """It is the log's, and the caller is answered by a task."""

    def take(*_: Any) -> bool:
        raise RuntimeError("a defect")

    assert asyncio.run(hear(both, [GOOD], take=take)).startswith(b"HTTP/1.1 200 OK")
    assert in_tasks == ["/predict"]


def late() -> tuple[Any, list[Caller]]:
    """A `take` that answers later, and those who wait."""
    waiting: list[Caller] = []

    def take(*asked: Any) -> bool:
        waiting.append(asked[-1])
        return True

    return take, waiting


@pytest.mark.parametrize("keep_alive", [0.05, 60.0])
def test_an_idle_connection_is_closed_after_its_time_and_not_before(both, keep_alive) -> None:
    """One timer a connection: an answer moves its end, and one that is awaited has none."""

    async def scene() -> tuple[bool, float]:
        config = uvicorn.Config(both.hot, ws="none", log_level="critical", access_log=False)
        config.timeout_keep_alive = keep_alive  # type: ignore[assignment]  # fewer than a second
        config.load()
        take, waiting = late()
        loop, make = asyncio.get_running_loop(), protocol({})
        listening = await loop.create_server(
            lambda: make(
                config=config, server_state=ServerState(), app_state={OFFER: Offer(b"/predict", take)}
            ),
            "127.0.0.1",
            0,
        )
        reader, writer = await asyncio.open_connection(*listening.sockets[0].getsockname())
        for turn in range(2):
            writer.write(GOOD)
            while len(waiting) <= turn:  # noqa: ASYNC110 - another callback of the loop
                await asyncio.sleep(0)
            held = loop.time() + 2 * min(keep_alive, 0.05)
            while loop.time() < held:  # noqa: ASYNC110 - longer than an idle connection lives
                await asyncio.sleep(0.01)
            waiting[turn].answer(b"", b"r", b"{}")
            assert (await asyncio.wait_for(reader.readuntil(b"{}"), SECONDS)).startswith(b"HTTP/1.1 200")
        answered = loop.time()
        try:
            end = await asyncio.wait_for(
                reader.read(), min(keep_alive * 100, 0.3) if keep_alive > 1 else SECONDS
            )
        except TimeoutError:
            end = None
        closed, after = end == b"", loop.time() - answered
        writer.close()
        listening.close()
        return closed, after

    closed, after = asyncio.run(scene())
    assert closed == (keep_alive < 1)
    assert not closed or after >= 0.8 * keep_alive


def test_a_server_that_ends_answers_what_it_took(both) -> None:
    """Shut down in between, the connection hears its answer, that it is the last, and its end (S1)."""

    async def scene() -> bytes:
        config = uvicorn.Config(both.hot, ws="none", log_level="critical", access_log=False)
        config.load()
        take, waiting = late()
        state, make = ServerState(), protocol({})
        listening = await asyncio.get_running_loop().create_server(
            lambda: make(config=config, server_state=state, app_state={OFFER: Offer(b"/predict", take)}),
            "127.0.0.1",
            0,
        )
        reader, writer = await asyncio.open_connection(*listening.sockets[0].getsockname())
        writer.write(GOOD)
        while not waiting:  # noqa: ASYNC110 - another callback of the loop
            await asyncio.sleep(0)
        for connection in list(state.connections):
            connection.shutdown()
        waiting[0].answer(b"", b"r", b"{}")
        said = await asyncio.wait_for(reader.read(), SECONDS)
        writer.close()
        listening.close()
        return said

    said = asyncio.run(scene())
    assert said.startswith(b"HTTP/1.1 200 OK")
    assert b"connection: close" in said
    assert said.endswith(b"{}")
