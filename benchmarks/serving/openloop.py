"""Requests at a constant rate, whatever the answers do: an open loop, which wrk does not have.

Request k is meant to leave k / rate after the first, and its latency counts from then: a server that stalls
is charged with all that would have come meanwhile, which a caller that waits for each answer hides.
Connections are kept alive; where none is free, a request waits and its clock runs. This process turns on its
own core instead of sleeping, since the timers of an event loop are a millisecond late.
"""

import asyncio
import gc
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from contract.errors import FlightlineError

CONNECTIONS = 128  # at most; more requests than these wait here, and their clock runs
LAST_ANSWER_S = 10.0  # after the last request has left
MOST_REQUESTS = 1_000_000
OK_LINE = (b"HTTP/1.1 200", b"HTTP/1.0 200")


@dataclass
class Outcome:
    """What became of the requests; `latencies_s` in the order of the answers."""

    latencies_s: list[float] = field(default_factory=list)
    failed: int = 0  # another status than 200
    unanswered: int = 0
    behind_s: float = 0.0  # the most that this process itself was late in handing a request on


def fire(port: int, requests: Sequence[bytes], rate: float, seconds: float) -> Outcome:
    """Send `requests`, whole HTTP requests, in turn to the loopback's `port`: `rate` a second for `seconds`.

    Raises:
        FlightlineError: the rate or the number of requests is out of bounds, or nobody listens.
    """
    if not (rate > 0 and 1 <= rate * seconds <= MOST_REQUESTS):
        raise FlightlineError(
            f"{rate:g} requests a second for {seconds:g} s", f"1 to {MOST_REQUESTS:,} of them", "Correct it"
        )
    gc.collect()
    gc.disable()  # a collection here would be charged to the server
    try:
        return asyncio.run(_fire(port, requests, rate, int(rate * seconds)))
    finally:
        gc.enable()


def request(path: str, body: bytes) -> bytes:
    """A whole HTTP request that posts JSON."""
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


async def _fire(port: int, requests: Sequence[bytes], rate: float, count: int) -> Outcome:
    crowd = _Crowd(port)
    await crowd.connect()  # that somebody listens is known before the clock runs
    began = time.perf_counter() + 0.05
    for number in range(count):
        due = began + number / rate
        while (now := time.perf_counter()) < due:  # noqa: ASYNC110 - a timer would be late
            await asyncio.sleep(0)
        crowd.outcome.behind_s = max(crowd.outcome.behind_s, now - due)
        crowd.send(due, requests[number % len(requests)])
    deadline = time.perf_counter() + LAST_ANSWER_S
    while crowd.open and time.perf_counter() < deadline:  # noqa: ASYNC110 - answers are timed as before
        await asyncio.sleep(0)
    await crowd.close()
    return crowd.outcome


class _Crowd:
    """The connections, and what waits for one."""

    def __init__(self, port: int) -> None:
        self.port, self.outcome, self.open = port, Outcome(), 0
        self._free: list[_Connection] = []
        self._made: set[_Connection] = set()
        self._waiting: deque[tuple[float, bytes]] = deque()
        self._connecting: set[asyncio.Task[None]] = set()

    async def connect(self) -> None:
        """One more connection, which takes what waits.

        Raises:
            FlightlineError: nobody listens.
        """
        loop = asyncio.get_running_loop()
        try:
            _, made = await loop.create_connection(lambda: _Connection(self), "127.0.0.1", self.port)
        except OSError as error:
            raise FlightlineError(f"port {self.port} refuses ({error})", "a server", "Start it") from None
        self._made.add(made)
        self.give(made)

    def send(self, due: float, data: bytes) -> None:
        """Send it now, or as soon as a connection is free."""
        self.open += 1
        if self._free:
            self._free.pop().send(due, data)
            return
        self._waiting.append((due, data))
        if len(self._made) + len(self._connecting) < CONNECTIONS:
            task = asyncio.get_running_loop().create_task(self.connect())
            self._connecting.add(task)
            task.add_done_callback(self._connecting.discard)

    def give(self, connection: "_Connection") -> None:
        """`connection` is free."""
        if self._waiting:
            connection.send(*self._waiting.popleft())
        else:
            self._free.append(connection)

    def done(self, latency_s: float, good: bool) -> None:
        """One request was answered."""
        self.open -= 1
        if good:
            self.outcome.latencies_s.append(latency_s)
        else:
            self.outcome.failed += 1

    def lost(self, connection: "_Connection", busy: bool) -> None:
        """The server closed a connection."""
        self._made.discard(connection)
        if connection in self._free:
            self._free.remove(connection)
        if busy:
            self.open -= 1
            self.outcome.unanswered += 1

    async def close(self) -> None:
        """Close what is open; what was not answered by now never is."""
        self.outcome.unanswered += self.open
        self.open = 0
        tasks = [*self._connecting]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for connection in [*self._made]:
            connection.end()
        await asyncio.sleep(0)


class _Connection(asyncio.Protocol):
    """One connection with at most one request on it."""

    def __init__(self, crowd: _Crowd) -> None:
        self._crowd, self._due, self._data = crowd, -1.0, b""
        self._transport: asyncio.Transport | None = None
        self._ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - what a stream connection is given
        self._transport = transport

    def send(self, due: float, data: bytes) -> None:
        assert self._transport is not None  # noqa: S101 - it is given work once it is connected
        self._due, self._data = due, b""
        self._transport.write(data)

    def data_received(self, data: bytes) -> None:
        self._data += data
        if self._due >= 0 and _complete(self._data):
            self._crowd.done(time.perf_counter() - self._due, self._data.startswith(OK_LINE))
            self._due = -1.0
            if not self._ended:
                self._crowd.give(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        if not self._ended:
            self._crowd.lost(self, self._due >= 0)

    def end(self) -> None:
        self._ended = True
        if self._transport is not None:
            self._transport.abort()


def _complete(data: bytes) -> bool:
    """Whether a whole answer has arrived.

    Raises:
        FlightlineError: it does not say its length; no contender answers so.
    """
    head, found, body = data.partition(b"\r\n\r\n")
    if not found:
        return False
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            return len(body) >= int(value)
    if b"chunked" in head.lower():
        return body.endswith(b"0\r\n\r\n")
    raise FlightlineError("an answer without its length", "Content-Length", "Measure another server")
