"""Every bad call of the admin API gets a 4xx that says field, found and expected, in bounded time (M9)."""

import json
import select
import socket
import threading
import time

import httpx
import pytest

from serving.admin.http_server import MOST_CALLS
from serving.admin.server import ADDRESS, Admin
from serving.admin.token import read_token
from tests.serving.http.bad_inputs.admin import ADMIN
from tests.serving.http.bad_inputs.form import complaints
from tests.serving.real import until

REQUEST_S = 0.5  # for a request to arrive; ten seconds where nobody waits for it
LATE_S = 20.0


class Door:
    """The admin API of a service with the model `toy` in version 1, as bytes."""

    def __init__(self, host):
        """Open."""
        self.admin = Admin(host.settings.state, 0, request_s=REQUEST_S)
        self.admin.start()
        self.state = host.settings.state
        self.token = read_token(self.state).encode()
        self.port = json.loads((self.state / ADDRESS).read_bytes())["port"]

    def connect(self):
        """A connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=LATE_S)

    def say(self, content):
        """Everything that comes back to some bytes: status, headers and body."""
        with self.connect() as connection:
            connection.sendall(content.replace(b"{token}", self.token))
            heard = b""
            while data := connection.recv(65536):
                heard += data
        head, _, body = heard.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {key.lower(): value for key, _, value in (line.partition(": ") for line in lines)}
        return int(first.split()[1]), headers, body

    def models(self):
        """What is desired."""
        address = f"http://127.0.0.1:{self.port}/models"
        headers = {"Authorization": f"Bearer {self.token.decode()}"}
        return httpx.get(address, headers=headers, trust_env=False, timeout=LATE_S).json()["models"]


@pytest.fixture(scope="module")
def door(tmp_path_factory, open_host, build_release):
    """One for the whole table."""
    folder = tmp_path_factory.mktemp("admin")
    host = open_host(folder / "host")
    host.serve(build_release(folder / "toy"))
    host.versions.start()
    made = Door(host)
    yield made
    made.admin.close()
    host.log.close()
    host.versions.close()
    host.completer.close()


@pytest.mark.parametrize("name", ADMIN)
def test_it_is_refused_with_an_object_and_changes_nothing(door, name):
    """The status fits, and the first problem names the place."""
    bad, before = ADMIN[name], door.models()
    status, headers, body = door.say(bad.content)
    assert status == bad.status, body
    assert complaints(headers, body) == []
    assert json.loads(body)["problems"][0]["field"] == bad.field
    assert door.models() == before


def test_a_caller_who_sends_a_byte_now_and_then_is_cut_off(door):
    """What counts is the whole request: each byte came in time, and still the place is free again."""
    began = time.monotonic()
    held = [door.connect() for _ in range(MOST_CALLS)]
    try:
        deadline = began + LATE_S
        heard = []
        while len(heard) < len(held):
            assert time.monotonic() < deadline, "still read from"
            for connection in set(held) - set(heard):
                ready, _, _ = select.select([connection], [], [], 0.01)
                if ready:
                    heard.append(connection)
                else:
                    connection.sendall(b"G")
        answers = [connection.recv(4096) for connection in held]
    finally:
        for connection in held:
            connection.close()
    assert all(b" 408 " in answer.split(b"\r\n")[0] for answer in answers)
    assert time.monotonic() - began >= REQUEST_S
    until(lambda: door.say(b"GET /nowhere HTTP/1.1\r\n\r\n")[0] == 401)


def test_a_caller_who_takes_a_while_is_served(door):
    """A request in pieces is one, as long as it is whole in time."""
    content = b"GET /models HTTP/1.1\r\nAuthorization: Bearer " + door.token + b"\r\n\r\n"
    with door.connect() as connection:
        for place in range(0, len(content), 16):
            connection.sendall(content[place : place + 16])
            threading.Event().wait(0.001)  # a piece at a time, not a condition
        assert connection.recv(4096).startswith(b"HTTP/1.0 200 ")
