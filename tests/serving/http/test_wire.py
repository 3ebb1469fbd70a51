"""What a caller may do to a connection, against a service as it really runs."""

import re
import socket
from collections.abc import Iterator
from pathlib import Path

import httptools
import pytest

from tests.serving.http.bad_inputs.form import complaints
from tests.serving.http.bad_inputs.wire import BODY, GOOD, HEAD, WIRE, Wire, post
from tests.serving.http.bad_inputs.world import releases
from tests.serving.real import PYTHON, Real, running, until

if not PYTHON.exists():
    pytest.skip("NO .venv-serving: `make test` makes it; the wire goes untested", allow_module_level=True)

PROC = Path("/proc")
SECONDS = 1.0  # that a request may take to arrive, here
PATIENCE = 30  # for an answer, beside a busy test suite


class Answer:
    """One answer, read off a connection by the same parser as the server's, turned round."""

    def __init__(self, connection: socket.socket) -> None:
        """Read it whole."""
        self.headers: dict[str, str] = {}
        self.content = b""
        self.whole = self.closed = False
        self.status = 0
        parser = httptools.HttpResponseParser(self)
        while not self.whole:
            data = connection.recv(65536)
            if not data:
                self.closed = True
                return
            parser.feed_data(data)
            if self.headers or self.content:
                self.status = parser.get_status_code()

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        self.headers[name.decode().lower()] = value.decode()

    def on_body(self, data: bytes) -> None:
        """A part of the body."""
        self.content += data

    def on_message_complete(self) -> None:
        """The end."""
        self.whole = True


@pytest.fixture(scope="module")
def service(tmp_path_factory, build_release) -> Iterator[Real]:
    """One service for the whole table."""
    folder = tmp_path_factory.mktemp("wire")
    with running(
        folder,
        releases(folder / "releases", build_release),
        environment={"FLIGHTLINE_RECEIVE_SECONDS": str(SECONDS)},
    ) as real:
        yield real


def ask(service: Real, content: bytes) -> tuple[Answer, bool]:
    """The answer to these bytes, and whether the connection is closed after it."""
    with service.connect() as connection:
        connection.sendall(content)
        answer = Answer(connection)
        return answer, answer.closed or answer.headers.get("connection") == "close"


@pytest.mark.parametrize("name", WIRE)
def test_bad_bytes_are_refused_with_an_object(service, name) -> None:
    """The status fits, field, found and expected are said, and the service goes on (M9)."""
    wire: Wire = WIRE[name]
    answer, closed = ask(service, wire.content)
    assert answer.status == wire.status, answer.content
    assert complaints(answer.headers, answer.content) == []
    assert re.fullmatch("[0-9a-f]{32}", answer.headers["x-request-id"])
    assert f'"problems":[{{"field":"{wire.field}"'.encode() in answer.content
    assert closed or answer.status in {404, 405, 413, 415} or wire.field == "body"
    assert ask(service, GOOD)[0].status == 200


def test_a_refusal_comes_before_the_body(service) -> None:
    """With `Expect: 100-continue` nothing is asked for, and the connection's end is announced (M9)."""
    answer, closed = ask(service, WIRE["large, waiting to go on"].content)
    assert (answer.status, closed) == (413, True)


def test_a_body_that_waits_is_asked_for(service) -> None:
    """`Expect: 100-continue` with a good length is told to go on."""
    with service.connect() as connection:
        connection.sendall(HEAD[:-2] + b"Expect: 100-continue\r\n\r\n")
        assert connection.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(BODY)
        assert Answer(connection).status == 200


def test_a_deadline_is_for_the_whole_request(service) -> None:
    """A byte now and then does not keep a connection (S1)."""
    with service.connect() as connection:
        connection.settimeout(SECONDS / 20)
        connection.sendall(HEAD)
        sent = 0

        def refused() -> bytes:
            nonlocal sent
            sent += 1
            connection.sendall(b" ")
            try:
                return connection.recv(65536)
            except TimeoutError:
                return b""

        assert b"408 Request Timeout" in until(refused, PATIENCE, "the slow request refused")
        assert sent > 5


def test_the_rest_of_a_refused_body_is_not_waited_for(service) -> None:
    """After a 413 the connection ends at the deadline, without a second answer."""
    with service.connect() as connection:
        connection.sendall(WIRE["large in chunks without an end"].content)
        assert Answer(connection).status == 413
        assert connection.recv(65536) == b""


def test_what_is_refused_below_http_is_counted(service) -> None:
    """In the metrics of the service, by status, among all other refusals."""
    name = 'flightline_refused_requests_total{status="431"}'

    def counted() -> float:
        lines = service.client.get("/metrics").text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(name))

    before = counted()
    assert ask(service, WIRE["large header"].content)[0].status == 431
    assert counted() == before + 1


def test_an_idle_connection_is_closed_without_a_word(service) -> None:
    """Browsers open connections ahead: an answer to no question would be taken for that to the next."""
    with service.connect() as connection:
        assert connection.recv(65536) == b""


def test_requests_in_a_row_are_answered_in_their_order(service) -> None:
    """Pipelined: a good one, a bad one, a good one."""
    with service.connect() as connection:
        connection.sendall(GOOD + post(400, body=b"x").content + GOOD)
        reader = connection.makefile("rb")
        statuses = []
        for _ in range(3):
            statuses.append(int(reader.readline().split()[1]))
            length = 0
            while (line := reader.readline()) != b"\r\n":
                name, _, value = line.partition(b":")
                length = int(value) if name.lower() == b"content-length" else length
            reader.read(length)
        assert statuses == [200, 400, 200]


def test_a_request_in_pieces_is_a_request(service) -> None:
    """Each byte in a packet of its own."""
    with service.connect() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in GOOD:
            connection.sendall(bytes([byte]))
        assert Answer(connection).status == 200


def test_a_caller_that_has_said_all_still_hears(service) -> None:
    """Half-closed after a whole request: answered, then closed. After a part of one: closed."""
    with service.connect() as connection:
        connection.sendall(GOOD)
        connection.shutdown(socket.SHUT_WR)
        assert Answer(connection).status == 200
        assert connection.recv(65536) == b""
    with service.connect() as connection:
        connection.sendall(GOOD[:-1])
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(65536) == b""


def test_an_offer_of_http_2_is_declined_and_the_body_kept(service) -> None:
    """Java's client offers it with its first request: that request is answered as any other."""
    offer = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAAB\r\n"
    answer, closed = ask(service, post(200, more=offer).content)
    assert (answer.status, closed) == (200, False)


def test_callers_that_vanish_leave_nothing(service) -> None:
    """Connections torn down at every point of a request; afterwards none is left, and no traceback."""
    for end in range(0, len(GOOD), 8):
        with service.connect() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # RST, not FIN
            connection.sendall(GOOD[:end])
    assert ask(service, GOOD)[0].status == 200
    until(lambda: _connections(service) == 0, PATIENCE, "every connection gone")
    assert "Traceback" not in service.output


def _connections(service: Real) -> int:
    """How many connections the service's process holds, by the kernel's table."""
    held = {
        link.readlink().name for link in (PROC / str(service.popen.pid) / "fd").iterdir() if link.is_symlink()
    }
    port = f":{service.port:04X}"
    rows = [line.split() for line in (PROC / "net" / "tcp").read_text().splitlines()[1:]]
    return sum(row[1].endswith(port) and row[3] == "01" and f"socket:[{row[9]}]" in held for row in rows)
