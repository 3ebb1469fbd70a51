"""A small HTTP server on loopback, for processes that mostly do something else."""

import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from contract.errors import FlightlineError
from pipelines.cli import enough_room
from pipelines.machine.logs import note
from pipelines.machine.ports import require_free
from pipelines.promotion.webhooks import Headers, RejectedError

SILENCE_S = 5.0  # after which a caller who says nothing is left
DRAINED = 1024 * 1024  # bytes that are read, and thrown away, of a body that was refused
# What a route does: the headers, and a way to read so many bytes of the body, to a status and an answer.
Route = Callable[[Headers, Callable[[int], bytes]], tuple[int, Mapping[str, Any]]]


@contextmanager
def listening(
    port: int, port_variable: str, name: str, routes: Mapping[tuple[str, str], Route]
) -> Iterator[None]:
    """Answer `routes` (method and path) on 127.0.0.1:`port` for the length of the block.

    Raises:
        FlightlineError: the port is taken; `port_variable` moves it.
    """
    require_free(port, name, port_variable)

    class Handler(BaseHTTPRequestHandler):
        timeout = SILENCE_S

        def do_GET(self) -> None:
            self._route("GET")

        def do_POST(self) -> None:
            self._route("POST")

        def _route(self, method: str) -> None:
            path = self.path.partition("?")[0]
            route = routes.get((method, path)) or _nothing_there(method, path, routes)
            try:
                with enough_room():
                    answer = route(self.headers, self.rfile.read)
            except RejectedError as error:
                note(f"refused with {error.status}: {error}")
                self._refuse(error.status, error)
            except FlightlineError as error:
                note(f"could not act: {error}")
                self._refuse(503, error)
            else:
                self._answer(*answer)

        def _refuse(self, status: int, error: FlightlineError) -> None:
            said = {"found": error.found, "expected": error.expected, "remedy": error.remedy}
            self._answer(status, {"error": said})
            # A connection that is closed on unread bytes is reset, and the answer may be lost with it.
            with suppress(OSError):
                self.wfile.flush()
                self.connection.shutdown(socket.SHUT_WR)
                self.connection.settimeout(1.0)
                left = DRAINED
                while left > 0 and (read := self.connection.recv(65536)):
                    left -= len(read)

        def _answer(self, status: int, said: Mapping[str, Any]) -> None:
            data = json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
            """What matters is said elsewhere."""

    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, name=name)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


def _nothing_there(method: str, path: str, routes: Mapping[tuple[str, str], Route]) -> Route:
    known = ", ".join(sorted(f"{verb} {place}" for verb, place in routes))
    status = 405 if any(place == path for _, place in routes) else 404

    def refuse(*_: object) -> tuple[int, Mapping[str, Any]]:
        raise RejectedError(status, f"there is no {method} {path[:100]}", known, "Correct the address")

    return refuse
