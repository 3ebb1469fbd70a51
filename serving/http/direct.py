"""uvicorn's protocol with a shorter way for what an application has offered to take: see `whole`."""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from serving.http.whole import OFFER, Offer, Whole

DIGITS = 12  # of a content length that is looked at


class Start:
    """The first headers of every answer, which are uvicorn's own, made once a second."""

    def __init__(self) -> None:
        """Nothing made yet."""
        self._of: object = None
        self._lines = b""

    def of(self, state: ServerState) -> bytes:
        """As of now: uvicorn replaces the list whenever the date changes."""
        headers = state.default_headers
        if headers is not self._of:
            self._lines = b"".join(b"%b: %b\r\n" % field for field in headers)
            self._of = headers
        return self._lines


class DirectProtocol(HttpToolsProtocol):
    """Asks the application's `Offer` first; parsing, pipelining and the order of answers stay uvicorn's.

    Its timer of an idle connection is one a connection, not one a request.
    """

    def __init__(self, *arguments: Any, start: Start, **named: Any) -> None:
        """As of uvicorn's; `start` is shared by all connections."""
        super().__init__(*arguments, **named)
        offer: Offer | None = self.app_state.get(OFFER)
        if self.access_log or self.root_path or self.limit_concurrency is not None:
            offer = None  # it knows nothing of them
        self._offer, self.start = offer, start
        self._whole: Whole | None = None  # the request that is arriving, where it may be one
        self._pieces: list[bytes] | None = None  # of its body, where that is handed on in one
        self._idle_since: float | None = None  # loop time of the last answer, while nothing is asked
        self.leaving = False  # the connection ends with what it asks next

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timer: it would keep the connection in memory."""
        if self.timeout_keep_alive_task is not None:
            self.timeout_keep_alive_task.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Begin in the ordinary way what has not arrived whole with `data`."""
        super().data_received(data)
        whole = self._whole
        if whole is not None:
            self._whole = None
            if not self.transport.is_closing():
                self._begin(whole.headers)
                super().on_headers_complete()
                if whole.body:
                    super().on_body(whole.body)

    def on_message_begin(self) -> None:
        """As uvicorn's, but for the scope, which an offer does not ask for."""
        if self._offer is None:
            super().on_message_begin()
        else:
            self.url, self.headers, self.expect_100_continue = b"", [], False

    def on_headers_complete(self) -> None:
        """See whether the request may be one for the offer; else start it."""
        offer = self._offer
        if offer is not None:
            if self._may_be_whole(offer.path):
                self._whole = Whole(self, offer, self.url[len(offer.path) + 1 :], self.headers)
                return
            self._begin(self.headers)
        super().on_headers_complete()
        self._pieces = [] if offer is not None and self._is_long(offer) else None

    def _begin(self, headers: list[tuple[bytes, bytes]]) -> None:
        """Have uvicorn begin, after all, with the request whose head has been read."""
        url, expect = self.url, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expect
        self.headers += headers  # the list that is in the scope

    def scope_of(self, headers: list[tuple[bytes, bytes]]) -> Any:
        """The scope that uvicorn begins a request with; another one may be arriving."""
        arriving = self.headers, self.scope
        self._begin(headers)
        scope = self.scope
        self.headers, self.scope = arriving
        return scope

    def on_body(self, body: bytes) -> None:
        """Keep it, or hand it to the application that has begun to read."""
        if self._whole is not None:
            self._whole.body += body
        elif self._pieces is not None:
            self._pieces.append(body)
        else:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Have what arrived whole answered."""
        whole = self._whole
        if whole is None:
            pieces, self._pieces = self._pieces, None
            if pieces is not None and not self.cycle.response_complete:
                self.cycle.body = b"".join(pieces)  # type: ignore[assignment]  # it is only read from now on
            super().on_message_complete()
            return
        self.cycle, self._whole = whole, None  # type: ignore[assignment]  # it stands for one
        fields = dict(self.headers)
        try:
            # A header that is given twice means something else to each reader.
            taken = len(fields) == len(self.headers) and whole.offer.take(
                fields, whole.query, whole.body, whole
            )
        except Exception:
            self.logger.exception("Exception in what the application offered")
            taken = False
        if not taken:
            whole.give_back()

    def _may_be_whole(self, path: bytes) -> bool:
        """Whether nothing is odd about the request whose head has arrived, and none is before it."""
        parser, url = self.parser, self.url
        return (
            (url == path or (url.startswith(path + b"?") and b"#" not in url))
            and (self.cycle is None or self.cycle.response_complete)
            and parser.get_method() == b"POST"
            and parser.should_keep_alive()
            and parser.get_http_version() == "1.1"
            and not (self.expect_100_continue or self.leaving or self.flow.write_paused)
        )

    def _is_long(self, offer: Offer) -> bool:
        """Whether the body that follows is to be handed on in one piece."""
        url, path = self.url, offer.long_path
        if not path or not (url == path or url.startswith(path + b"?")) or self.expect_100_continue:
            return False
        said = [value for name, value in self.headers if name == b"content-length"]
        return (
            len(said) == 1
            and len(said[0]) <= DIGITS
            and said[0].isdigit()
            and int(said[0]) <= offer.long_bytes
        )

    def replace(self, whole: Whole, cycle: RequestResponseCycle) -> None:
        """Start `cycle` in the place of `whole`; a later request may be waiting behind it already."""
        current: Any = self.cycle
        if current is whole:
            self.cycle = cycle
        self._start_asgi_task(cycle, self.app)

    def on_response_complete(self) -> None:
        """As uvicorn's, but for the timer."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)
            return
        self._idle_since = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self._look_again(self.timeout_keep_alive)

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection that has been idle for long enough; else look again when it will have been."""
        self.timeout_keep_alive_task = None
        if self._idle_since is None:
            return  # the end of the request that is being read or answered sets the timer again
        left = self._idle_since + self.timeout_keep_alive - self.loop.time()
        if left > 0:
            self._look_again(left)
        elif not self.transport.is_closing():
            self.transport.close()

    def _look_again(self, seconds: float) -> None:
        timer: asyncio.TimerHandle = self.loop.call_later(seconds, self.timeout_keep_alive_handler)
        self.timeout_keep_alive_task = timer

    def _unset_keepalive_if_required(self) -> None:
        """Whoever says something is not idle; the timer finds out when it fires."""
        self._idle_since = None
