"""A load generator of HTTP/1.1 requests over a few connections, bounded in time and in number.

A library's client takes longer for a request than the service does, and would measure itself.
"""

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import numpy as np

from pipelines.machine import interrupts

HEAD_END = b"\r\n\r\n"
LENGTH = b"content-length: "
TIMEOUT_S = 5.0  # of one request; no pause of a busy machine is so long
MOST_BYTES = 1_000_000  # of an answer


@dataclass
class Sample:
    """What some load saw."""

    seconds: float = 0.0
    taken: list[float] = field(default_factory=list)  # seconds of each answer
    answers: list[tuple[int, int, bytes]] = field(default_factory=list)  # number of its request, status, body
    broken: list[str] = field(default_factory=list)  # why there was no answer

    @property
    def per_second(self) -> float:
        """Answers a second."""
        return len(self.taken) / self.seconds

    @property
    def p99_ms(self) -> float:
        """What 99 of 100 answers took at most."""
        return float(np.percentile(self.taken, 99)) * 1000


def post(path: str, body: bytes, host: str) -> bytes:
    """A request as it goes over the wire."""
    head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
    return head.encode() + b"Content-Length: %d\r\n\r\n%s" % (len(body), body)


def generate(
    url: str, path: str, bodies: Sequence[bytes], *, connections: int, seconds: float, most: int
) -> Sample:
    """POST `bodies` in turn to `path` over `connections` at once, for `seconds` or `most` requests.

    An answer counts when all of its body is there. Requests under way at the end are waited for.

    Raises:
        ValueError: the address is of another scheme.
    """
    address = urlsplit(url)
    if address.scheme != "http":
        raise ValueError(f"{url} is not of http, which is all that load is generated over")
    host, port = address.hostname or "127.0.0.1", address.port or 80
    requests = [post(path, body, f"{host}:{port}") for body in bodies]
    return interrupts.run(_generate((host, port), requests, connections, seconds, most))


async def _generate(
    address: tuple[str, int], requests: Sequence[bytes], connections: int, seconds: float, most: int
) -> Sample:
    found = Sample()
    numbers = iter(range(most))
    begun = time.perf_counter()
    workers = (
        _one_after_another(address, requests, numbers, begun + seconds, found) for _ in range(connections)
    )
    await asyncio.gather(*workers)
    found.seconds = time.perf_counter() - begun
    return found


async def _one_after_another(
    address: tuple[str, int], requests: Sequence[bytes], numbers: Iterator[int], until: float, found: Sample
) -> None:
    """Ask over one connection, which is opened anew after a failure."""
    connection: _Connection | None = None
    try:
        while time.perf_counter() < until and (number := next(numbers, None)) is not None:
            begun = time.perf_counter()
            try:
                if connection is None:
                    connection = await _open(address)
                status, body = await connection.ask(requests[number % len(requests)])
            except (OSError, ValueError) as error:  # a timeout is an OSError
                found.broken.append(f"{type(error).__name__}: {error}")
                if connection is not None:
                    connection.close()
                connection = None
                continue
            found.taken.append(time.perf_counter() - begun)
            found.answers.append((number, status, body))
    finally:
        if connection is not None:
            connection.close()


async def _open(address: tuple[str, int]) -> "_Connection":
    async with asyncio.timeout(TIMEOUT_S):
        _, connection = await asyncio.get_running_loop().create_connection(_Connection, *address)
    return connection


class _Connection(asyncio.Protocol):
    """One request at a time."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._buffer = b""
        self._waiting: asyncio.Future[tuple[int, bytes]] | None = None

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        """Status and body of the answer.

        Raises:
            OSError: the connection is gone, or no answer came in time.
            ValueError: what came is no answer of a known length.
        """
        if self._transport.is_closing():
            raise ConnectionResetError("closed between two requests")
        self._waiting = self._loop.create_future()
        late = self._loop.call_later(TIMEOUT_S, self._fail, TimeoutError(f"no answer within {TIMEOUT_S:g} s"))
        self._transport.write(request)
        try:
            return await self._waiting
        finally:
            late.cancel()
            self._waiting = None

    def close(self) -> None:
        """Hang up."""
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way there."""
        if not isinstance(transport, asyncio.Transport):
            raise TypeError("a TCP connection has a transport that is written to")
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody will answer any more."""
        self._fail(exc or ConnectionResetError("closed without an answer"))

    def data_received(self, data: bytes) -> None:
        """Collect the answer."""
        self._buffer += data
        try:
            found = _answer(self._buffer)
        except ValueError as error:
            self._fail(error)
            return
        if found is not None:
            self._buffer = b""
            if self._waiting is not None and not self._waiting.done():
                self._waiting.set_result(found)

    def _fail(self, error: Exception) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(error)


def _answer(data: bytes) -> tuple[int, bytes] | None:
    """Status and body, once all of it is there.

    Raises:
        ValueError: this is no answer, or it does not say how long it is.
    """
    head = data.find(HEAD_END)
    if head < 0:
        if len(data) > MOST_BYTES:
            raise ValueError("a head without an end")
        return None
    place = data[:head].lower().find(LENGTH)
    if place < 0:
        raise ValueError("an answer without Content-Length")
    length = int(data[place + len(LENGTH) : head].split(b"\r\n", 1)[0])
    if length > MOST_BYTES:
        raise ValueError(f"an answer of {length:,} bytes")
    start = head + len(HEAD_END)
    if len(data) < start + length:
        return None
    return int(data[9:12]), data[start : start + length]  # HTTP/1.1 200 OK
