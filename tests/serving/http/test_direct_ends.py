"""What is taken without a task and does not end well: refused, failed, gone, idle, or shut down."""

import asyncio
import json
from typing import Any

import numpy as np
import polars as pl
import pytest
import uvicorn
from uvicorn.server import ServerState

from serving.http.limits import Limits
from serving.http.whole import OFFER, Caller, Offer
from serving.http.wire import protocol
from serving.models.predictor import Predictor
from tests.serving.http.whole_requests import GOOD, ROW, SECONDS, Recorder, hear, post

pytestmark = pytest.mark.unit


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
