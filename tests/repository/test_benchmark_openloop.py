"""The open loop charges a server with every request that it lets wait, and hides none that failed."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from benchmarks.serving.openloop import fire, request
from contract.errors import FlightlineError

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
BODY = request("/predict", b'{"row":{}}')

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], "asyncio.Future[None]"]


@contextmanager
def serving(handle) -> Iterator[int]:
    """A server on the loopback in a thread of its own; its port."""
    loop, ready = asyncio.new_event_loop(), threading.Event()
    port = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (await reader.readexactly(len(BODY))) == BODY:
                if not await handle(writer):
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()

    async def run() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        port.append(server.sockets[0].getsockname()[1])
        ready.set()
        await stop.wait()
        server.close()
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    stop = asyncio.Event()
    thread = threading.Thread(target=loop.run_until_complete, args=(run(),))
    thread.start()
    try:
        assert ready.wait(10)
        yield port[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()


def test_each_request_is_sent_and_its_answer_timed():
    """As many as rate and time make, and no more."""

    async def at_once(writer) -> bool:
        writer.write(OK)
        return True

    with serving(at_once) as port:
        outcome = fire(port, [BODY], rate=500, seconds=0.1)
    assert (len(outcome.latencies_s), outcome.failed, outcome.unanswered) == (50, 0, 0)
    assert all(latency > 0 for latency in outcome.latencies_s)


def test_a_server_that_stalls_is_charged_with_all_that_came_meanwhile():
    """It answers nobody before the twentieth has asked: the first has waited for nineteen intervals."""
    writers = []

    async def together(writer) -> bool:
        writers.append(writer)
        if len(writers) == 20:
            for one in writers:
                one.write(OK)
        return True

    with serving(together) as port:
        outcome = fire(port, [BODY], rate=200, seconds=0.1)
    waited = sorted(outcome.latencies_s, reverse=True)
    assert len(waited) == 20
    assert all(latency >= (19 - place) / 200 for place, latency in enumerate(waited))


def test_a_refusal_is_no_answer():
    """A server that is quick at saying no is not quick."""

    async def refuse(writer) -> bool:
        writer.write(b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n")
        return True

    with serving(refuse) as port:
        outcome = fire(port, [BODY], rate=200, seconds=0.05)
    assert (outcome.latencies_s, outcome.failed) == ([], 10)


def test_a_closed_connection_is_counted_and_replaced():
    """Whoever is cut off counts as unanswered, and the others go on."""
    calls = []

    async def every_other(writer) -> bool:
        calls.append(1)
        if len(calls) % 2:
            return False
        writer.write(OK)
        return True

    with serving(every_other) as port:
        outcome = fire(port, [BODY], rate=200, seconds=0.05)
    assert (len(outcome.latencies_s), outcome.failed, outcome.unanswered) == (5, 0, 5)


@pytest.mark.unit
@pytest.mark.parametrize(("rate", "seconds"), [(0, 1), (-1, 1), (1e6, 1e6), (1, 0.1), (float("nan"), 1)])
def test_a_load_without_bounds_is_refused(rate, seconds):
    """Neither none nor more than a machine could remember."""
    with pytest.raises(FlightlineError, match="requests a second for"):
        fire(1, [BODY], rate, seconds)


def test_nobody_who_listens_is_said(free_port):
    """One sentence before the clock runs."""
    with pytest.raises(FlightlineError, match=f"port {free_port} refuses"):
        fire(free_port, [BODY], rate=100, seconds=0.1)
