"""What is refused before there is a request: bytes that are not HTTP, heads too large, callers too slow.

Parsing stays httptools'. Without this a caller who sends a byte an hour keeps a connection for ever, and one
who sends a header without end is collected in memory until there is none.
"""

import asyncio
import os
import sys
from collections.abc import Mapping
from functools import partial
from typing import Any
from uuid import uuid4

import httptools
import msgspec
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from contract.errors import ConfigError
from serving.http.direct import DirectProtocol, Start
from serving.http.whole import OFFER, Offer
from serving.rows import Problem

HEAD_BYTES = 32 * 1024  # request line and headers; nginx takes as much by default
HEADERS = 100
RECEIVE_SECONDS = 10.0  # for a request to arrive whole; 4 MiB in that time need 3.4 Mbit/s
MOST_SECONDS = 3_600.0
LAST_SECONDS = 0.3  # at the end, for the first request of a connection that was just opened


def protocol(environment: Mapping[str, str] | None = None) -> Any:
    """What uvicorn calls for each connection; FLIGHTLINE_RECEIVE_SECONDS says how long a request may arrive.

    Raises:
        ConfigError: that is no number of seconds.
    """
    text = (os.environ if environment is None else environment).get("FLIGHTLINE_RECEIVE_SECONDS", "")
    try:
        seconds = float(text or RECEIVE_SECONDS)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= MOST_SECONDS:  # NaN fails, too
        raise ConfigError(
            f"FLIGHTLINE_RECEIVE_SECONDS is '{text[:40]}'",
            f"seconds, more than 0 and at most {MOST_SECONDS:g}",
            "Correct it",
        )
    return partial(WireProtocol, receive_seconds=seconds, start=Start())


class WireProtocol(DirectProtocol):
    """uvicorn's protocol with a limit for a request's head and a deadline for its arrival.

    The deadline costs one timer a connection, not one a request: when it fires, it looks how long the
    present request has been arriving and, if not long enough, waits for the rest of that time.
    """

    def __init__(self, *arguments: Any, receive_seconds: float, **named: Any) -> None:
        """Start with nothing received."""
        super().__init__(*arguments, **named)
        self._seconds = receive_seconds
        self._since: float | None = None  # loop time at which the request that is arriving began
        self._head: int | None = 0  # bytes since then; None while a body arrives
        self._refusal: tuple[int, str, Problem] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._data = b""  # received last
        self._offered = False  # another protocol, by the request that is arriving

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._since = self.loop.time()
        self._timer = self.loop.call_later(self._seconds, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timer: it would keep the connection in memory."""
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count what belongs to a head, and refuse one that has no end."""
        if self._head is not None:
            self._head += len(data)
            if self._since is None:
                self._since = self.loop.time()
        self._data = data
        super().data_received(data)
        if self._head is not None and self._head > HEAD_BYTES and not self.transport.is_closing():
            self._refusal = _too_large()
            self.send_400_response("")

    def shutdown(self) -> None:
        """Close once what was begun is answered; who has just connected is about to ask, and is heard."""
        if self.leaving or self._since is None or not (self.cycle is None or self.cycle.response_complete):
            super().shutdown()
            return
        self.leaving = True
        self.loop.call_later(LAST_SECONDS, self.shutdown)

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """Answer what was asked whole before the caller closed its half; anything else is over."""
        asked = self.cycle is not None and not self.cycle.response_complete and self._since is None
        if asked:
            self.cycle.keep_alive = False
        return asked

    def on_headers_complete(self) -> None:
        """Refuse a head that is too large; else start the request."""
        if len(self.headers) > HEADERS:
            self._refusal = _too_many(len(self.headers))
            raise ValueError("too many headers")  # the parser stops, and asks for the refusal
        # The bytes counted so far may belong to a body, too; only then is it worth adding up.
        if self._head is not None and self._head > HEAD_BYTES:
            size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
            if size > HEAD_BYTES:
                self._refusal = _too_large()
                raise ValueError("too large headers")
        self._offered = self.parser.should_upgrade()
        if self._offered:
            return  # the parser takes what follows for another protocol: see below
        self._head = None
        super().on_headers_complete()
        if self.expect_100_continue or self.leaving:
            # Refused before its body was sent, it leaves open whether the body comes after all.
            self.cycle.keep_alive = False

    def on_message_complete(self) -> None:
        """Begin to wait for the next request; how long it takes to come is keep-alive's matter."""
        if self._offered:
            return
        self._since, self._head = None, 0
        super().on_message_complete()

    def _unsupported_upgrade_warning(self) -> None:
        """Read the request as if it offered no other protocol, as RFC 9110, 7.8 allows.

        Clients that offer HTTP/2 send a body all the same, which would be lost: Java's does by default.
        """
        error = sys.exc_info()[1]
        method = self.parser.get_method()
        if method == b"CONNECT" or not isinstance(error, httptools.HttpParserUpgrade):
            self._refusal = 405, "the service is no proxy", Problem("method", "CONNECT", "another one")
            self.send_400_response("")
            return
        lines = [
            b"%s %s HTTP/%s" % (method, self.url, self.parser.get_http_version().encode()),
            *(b"%s: %s" % field for field in self.headers if field[0] not in {b"upgrade", b"connection"}),
            b"connection: " + (b"keep-alive" if self.parser.should_keep_alive() else b"close"),
        ]
        rest = self._data[error.args[0] :]
        self.parser, self._head = httptools.HttpRequestParser(self), 0
        self.data_received(b"\r\n".join(lines) + b"\r\n\r\n" + rest)

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's sentence says nothing
        """Refuse what is arriving with the object that every refusal is, and close."""
        found = " ".join(str(sys.exc_info()[1] or "other bytes").split())[:200]
        status, error, problem = self._refusal or (
            400,
            f"the request is not HTTP/1.1 ({found})",
            Problem("request", found, "a request of HTTP/1.1"),
        )
        self._answer(status, error, problem)

    def _look(self) -> None:
        """Refuse a request that has been arriving for too long; else look again when it will have been."""
        if self.transport.is_closing():
            return
        now = self.loop.time()
        left = self._seconds if self._since is None else self._since + self._seconds - now
        if left > 0:
            self._timer = self.loop.call_later(left, self._look)
            return
        if self.cycle is not None and not self.cycle.response_complete and not self.cycle.more_body:
            # An earlier request is still being answered, and nothing is read meanwhile.
            self._timer = self.loop.call_later(self._seconds, self._look)
        elif not self._head and (self._head == 0 or self.cycle.response_started):
            self.transport.close()  # nothing was asked; or it is answered, and the rest of a body is missing
        else:
            most = f"{self._seconds:g} s"
            self._answer(
                408,
                f"the request did not arrive within {most}",
                Problem("request", "a part of it", f"all of it within {most}"),
            )

    def _answer(self, status: int, error: str, problem: Problem) -> None:
        """Refuse and close; the id is a new one, since a caller's may not have arrived."""
        offer: Offer | None = self.app_state.get(OFFER)
        # An application that waits for the body sees that it never comes, and counts the request itself.
        begun = self._head is None and self._whole is None
        if offer is not None and not begun:
            offer.refused(status)
        content = msgspec.json.encode({"error": error, "problems": [problem]})
        fields = b"content-type: application/json\r\ncontent-length: %d\r\nx-request-id: %b\r\n" % (
            len(content),
            uuid4().hex.encode(),
        )
        self.transport.write(STATUS_LINE[status] + fields + b"connection: close\r\n\r\n" + content)
        self.transport.close()


def _too_large() -> tuple[int, str, Problem]:
    most = f"{HEAD_BYTES // 1024} KiB"
    problem = Problem("headers", f"more than {most}", f"at most {most} with the request line")
    return 431, f"the request's head is larger than {most}", problem


def _too_many(count: int) -> tuple[int, str, Problem]:
    return (
        431,
        f"the request has {count} headers",
        Problem("headers", f"{count} headers", f"at most {HEADERS}"),
    )
