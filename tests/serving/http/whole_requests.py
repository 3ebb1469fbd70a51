"""Requests that arrive whole, and what their callers hear: bytes on a socket, or an object in its place."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import httptools
import uvicorn
from uvicorn.server import ServerState

from serving.http.bodies import BATCH_BYTES
from serving.http.whole import OFFER, Offer
from serving.http.wire import protocol

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
    both: Any,
    parts: Sequence[bytes],
    *,
    answers: int = 1,
    offered: bool = True,
    take: Any = None,
    seconds: str = "",
) -> bytes:
    """The bytes of `answers` answers, or all up to the end of the connection, to what is sent in `parts`.

    A request may take `seconds` to arrive.
    """
    config = uvicorn.Config(both.hot, ws="none", log_level="critical", access_log=False)
    config.load()
    server, make = ServerState(), protocol({"FLIGHTLINE_RECEIVE_SECONDS": seconds})
    server.default_headers = DATE
    refused = both.host.metrics.refused
    offer = Offer(b"/predict", take or both.hot.take, b"/predict_batch", BATCH_BYTES, refused)
    state = {OFFER: offer} if offered else {}
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
