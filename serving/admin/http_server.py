"""HTTP on the loopback by the standard library, bounded in bytes, in time and in calls.

The standard library's server is enough for a handful of calls a day, adds nothing to memory, and runs in a
supervisor that has no event loop.
"""

import io
import logging
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socket import SHUT_WR, socket
from typing import Any
from urllib.parse import parse_qs, urlsplit

from contract.errors import FlightlineError
from contract.strict import encode_json
from serving.admin import requests
from serving.admin.arriving import Arriving, LargeError, LateError
from serving.admin.requests import Answer, refusal
from serving.admin.token import matches

logger = logging.getLogger(__name__)

HOST = "127.0.0.1"
HEAD_BYTES, BODY_BYTES = 16 * 1024, 64 * 1024
REQUEST_S = 10.0  # for a caller to send all of a request
ANSWER_S = 10.0  # for a caller to take the answer
MOST_PARAMETERS = 10
MOST_CALLS = 8  # at a time; each is a thread
LINGER_S = 1.0  # for a caller to hear the answer and close
# What the base class calls a fault of the server's: the status, the field and what is expected.
_REFUSED = {
    501: (405, "method", "GET, PUT or DELETE"),
    505: (400, "request", "HTTP/1.0 or HTTP/1.1"),
    414: (431, "headers", f"at most {HEAD_BYTES} bytes"),
}


class AdminServer(ThreadingHTTPServer):
    """A thread a call, and only so many; `serve_forever` takes them."""

    daemon_threads = True  # a call that waits for workers must not keep the service from ending
    allow_reuse_address = True

    def __init__(self, port: int, state: Path, token: str, request_s: float) -> None:
        """Bind a port, 0 for a free one.

        Raises:
            FlightlineError: it is taken by another program.
        """
        self.state, self.token, self.request_s = state, token, request_s
        self._calls = threading.BoundedSemaphore(MOST_CALLS)
        try:
            super().__init__((HOST, port), _Handler)
        except (OSError, OverflowError) as error:
            raise FlightlineError(
                f"{HOST}:{port} cannot be used ({getattr(error, 'strerror', None) or error})",
                "a free port for the admin API",
                "Stop what uses it or change FLIGHTLINE_ADMIN_PORT",
            ) from None

    def process_request(self, request: Any, client_address: Any) -> None:
        """In a thread of its own, unless there are too many."""
        if not self._calls.acquire(blocking=False):
            with suppress(OSError):
                _refuse_busy(request)
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """One call, after which another has its place."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._calls.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - an override
        """A caller went away: no error of ours. Ours are caught where a call is made."""
        logger.info("an admin call was cut off")


class _Handler(BaseHTTPRequestHandler):
    server: AdminServer
    server_version, sys_version = "flightline-admin", ""
    # Until a request line was read; an answer may be due before.
    command, requestline, request_version = "", "", "HTTP/1.0"
    default_request_version = "HTTP/1.0"  # of a line that names none: else it is answered without a status

    def setup(self) -> None:
        super().setup()
        self._arriving = Arriving(self.connection, HEAD_BYTES, self.server.request_s)
        self.rfile.close()
        self.rfile = io.BufferedReader(self._arriving)

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except LateError:
            within = f"all of it within {self.server.request_s:g} s"
            self._send(
                refusal(408, f"the request did not arrive; expected {within}", "a part", within, "request")
            )
        except LargeError:
            most = f"at most {HEAD_BYTES} bytes"
            self._send(refusal(431, f"the headers are too large; expected {most}", "more", most, "headers"))

    def finish(self) -> None:
        """Answered; what still comes is let pass, for a reset could overtake the answer."""
        super().finish()
        late = time.monotonic() + LINGER_S
        with suppress(OSError):
            self.connection.shutdown(SHUT_WR)
            while (left := late - time.monotonic()) > 0:
                self.connection.settimeout(left)
                if not self.connection.recv(64 * 1024):
                    return

    def do_GET(self) -> None:
        self._serve()

    def do_PUT(self) -> None:
        self._serve()

    def do_DELETE(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def _serve(self) -> None:
        if not matches(self.headers.get("Authorization", ""), self.server.token):
            sentence = "the Authorization header does not carry the token of the state folder"
            self._send(refusal(401, sentence, "no such token", "Bearer TOKEN", "authorization"))
            return
        length = ", ".join(self.headers.get_all("Content-Length", ["0"]))
        if "Transfer-Encoding" in self.headers or not (length.isascii() and length.isdecimal()):
            self._send(refusal(411, "the body has no Content-Length", "none", "its bytes", "content-length"))
            return
        if int(length[:20]) > BODY_BYTES:
            sentence = f"the body has {length[:20]} bytes; expected at most {BODY_BYTES}"
            self._send(refusal(413, sentence, f"{length[:20]} bytes", f"at most {BODY_BYTES}", "body"))
            return
        self._arriving.allow(int(length))
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            sentence = f"the body ends after {len(body)} of {length} bytes"
            self._send(refusal(400, sentence, f"{len(body)} bytes", f"{length}, as its header says", "body"))
            return
        try:
            url = urlsplit(self.path)
            query = parse_qs(url.query, keep_blank_values=True, max_num_fields=MOST_PARAMETERS)
        except ValueError:
            expected = f"a path, and up to {MOST_PARAMETERS} parameters"
            self._send(refusal(400, f"the address is none; expected {expected}", "another", expected, "path"))
            return
        try:
            found = requests.answer(self.server.state, self.command, url.path, query, body)
        except Exception:  # a defect of ours: the log has it, and the caller an answer
            logger.exception("an admin call failed")
            found = refusal(500, "the call failed; the service's log says why", "a defect", "none", "request")
        logger.info("%s %s: %d", self.command, url.path, found.status)
        self._send(found)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002 - the base class passes it
        """What the base class refuses, as an object; its 501 and 505 are the caller's doing, too."""
        found = message or "a request that cannot be answered"
        status, field, expected = _REFUSED.get(int(code), (int(code), "request", "a request of HTTP/1.1"))
        sentence = f"the request is refused: {found}; expected {expected}"
        self._send(refusal(status, sentence, found, expected, field))

    def _send(self, found: Answer) -> None:
        data = encode_json(found.body)
        self.connection.settimeout(ANSWER_S)
        self.send_response(found.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        if found.status == 401:  # noqa: PLR2004 - HTTP's own number
            self.send_header("WWW-Authenticate", "Bearer")
        with suppress(BrokenPipeError, ConnectionResetError):  # nobody waits any more; the work is done
            self.end_headers()
            self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - an override
        """Nothing: the base class would print each call."""


def _refuse_busy(request: socket) -> None:
    data = encode_json(refusal(503, f"{MOST_CALLS} calls are under way", "more", "fewer", "calls").body)
    head = "HTTP/1.0 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 1\r\n"
    request.settimeout(1.0)
    request.sendall(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data)
