"""Requests that arrived whole, answered without a task and with one write: a shorter way beside ASGI.

An application that can answer without waiting for more of a request puts an `Offer` into its lifespan's
state. The protocol asks it first; what it does not take, and all that arrives in pieces, is an ASGI call.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

if TYPE_CHECKING:
    from serving.http.direct import DirectProtocol

OFFER = "flightline.offer"  # where the lifespan's state keeps it


class Caller(Protocol):
    """Whoever waits for an answer."""

    @property
    def disconnected(self) -> bool:
        """Whether there is nobody left to answer."""

    def answer(self, fields: bytes, request_id: bytes, body: bytes, status: int = 200) -> None:
        """`status` with the lines `fields`, as of the answering version."""

    def give_back(self) -> None:
        """Have the request answered in the ordinary way."""


@dataclass(frozen=True)
class Offer:
    """Takes POST requests to `path` that arrived whole.

    `take` gets the header fields, of which none is repeated, the query, the body and the caller. It answers
    in this turn of the loop or a later one, or says False and has done nothing.

    Bodies of `long_path` that say they have at most `long_bytes` are handed to the application in one piece.
    In pieces of 64 KiB, as uvicorn does it, a megabyte wakes its task 18 times, and is copied twice more.

    `refused` hears the status of what the protocol refuses before the application has heard of it.
    """

    path: bytes
    take: Callable[[dict[bytes, bytes], bytes, bytes, Caller], bool]
    long_path: bytes = b""
    long_bytes: int = 0
    refused: Callable[[int], None] = lambda _: None


class Whole:
    """In the place of uvicorn's cycle: what its protocol asks of one, and no more. A `Caller`."""

    __slots__ = (
        "_protocol",
        "body",
        "disconnected",
        "headers",
        "keep_alive",
        "offer",
        "query",
        "response_complete",
        "response_started",
    )
    more_body = False

    def __init__(
        self, protocol: "DirectProtocol", offer: Offer, query: bytes, headers: list[tuple[bytes, bytes]]
    ) -> None:
        """Not answered yet; its body is arriving."""
        self._protocol, self.offer, self.query, self.headers, self.body = protocol, offer, query, headers, b""
        self.disconnected = self.response_started = self.response_complete = False
        self.keep_alive = True

    @property
    def message_event(self) -> "Whole":
        """What wakes whoever reads or writes; here nobody waits."""
        return self

    def set(self) -> None:
        """Wake nobody."""

    def answer(self, fields: bytes, request_id: bytes, body: bytes, status: int = 200) -> None:
        """Write it as `RequestResponseCycle.send` would, and let the connection go on."""
        protocol = self._protocol
        transport = protocol.transport
        if self.disconnected or transport.is_closing():
            return
        self.response_started = self.response_complete = True
        self.body = b""  # the connection keeps this object until its next request
        end = b"\r\n\r\n" if self.keep_alive else b"\r\nconnection: close\r\n\r\n"
        start = protocol.start.of(protocol.server_state)
        transport.write(
            b"%b%b%bcontent-length: %d\r\nx-request-id: %b%b%b"
            % (STATUS_LINE[status], start, fields, len(body), request_id, end, body)
        )
        if not self.keep_alive:
            transport.close()
        protocol.on_response_complete()

    def give_back(self) -> None:
        """Start the task that uvicorn would have started."""
        protocol = self._protocol
        if self.disconnected or protocol.transport.is_closing():
            return
        scope, path = protocol.scope_of(self.headers), self.offer.path
        scope.update(method="POST", path=path.decode(), raw_path=path, query_string=self.query)
        cycle = RequestResponseCycle(
            scope=scope,
            transport=protocol.transport,
            flow=protocol.flow,
            logger=protocol.logger,
            access_logger=protocol.access_logger,
            access_log=protocol.access_log,
            default_headers=protocol.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=False,
            keep_alive=self.keep_alive,
            on_response=protocol.on_response_complete,
        )
        cycle.body, cycle.more_body = bytearray(self.body), False
        cycle.message_event.set()
        protocol.replace(self, cycle)
