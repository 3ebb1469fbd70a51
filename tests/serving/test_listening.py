"""The end of a listening socket: who has connected is answered, and nobody is let in to be cut off (S1)."""

import asyncio
import socket
from contextlib import suppress

import pytest
import uvicorn

from serving.http.wire import protocol
from serving.listening import allow_new, refuse_new
from serving.process import _Server
from tests.serving.http.bad_inputs.wire import GOOD

CALLERS = 16
SOON_S = 0.2  # a dropped attempt is not answered; one that is let in takes microseconds


async def answer(scope, receive, send):  # noqa: ARG001 - an application's signature
    """The same to everyone."""
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})


@pytest.fixture
def listener():
    """A listening socket."""
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        made.listen(CALLERS)
        yield made


def heard_at_the_end(make, listener):
    """What callers hear whom nobody has accepted when the server is told to end."""

    async def run():
        config = uvicorn.Config(answer, http=protocol({}), ws="none", lifespan="off", log_level="critical")
        config.load()
        server = make(config)
        server.lifespan = config.lifespan_class(config)
        await server.startup(sockets=[listener])
        callers = []
        for _ in range(CALLERS):  # the loop does not turn meanwhile: they stay in the queue
            callers.append(socket.create_connection(listener.getsockname(), timeout=20))
            callers[-1].sendall(GOOD)
        await server.shutdown([listener])
        return callers

    heard = []
    for caller in asyncio.run(run()):
        with caller:
            heard.append(b"")
            with suppress(ConnectionResetError):
                heard[-1] = caller.recv(4096)
    return heard


def test_who_is_in_the_queue_is_answered(listener):
    """Each of them, though the server was already told to end."""
    heard = heard_at_the_end(lambda config: _Server(config, shared=False), listener)
    assert [said.split(b"\r\n")[0] for said in heard] == [b"HTTP/1.1 200 OK"] * CALLERS


def test_else_they_would_be_cut_off(listener):
    """As uvicorn alone does: the check above can fail."""
    assert b"" in heard_at_the_end(uvicorn.Server, listener)


def test_nobody_new_is_let_in_and_the_queue_stays(listener):
    """A newcomer is not connected, so that nothing it sends is lost; who came before is still there."""
    before = socket.create_connection(listener.getsockname(), timeout=20)
    refuse_new(listener)
    with pytest.raises(TimeoutError):
        socket.create_connection(listener.getsockname(), timeout=SOON_S)
    accepted, _ = listener.accept()
    accepted.sendall(b"here")
    assert before.recv(4) == b"here"
    accepted.close()
    before.close()


def test_who_replaces_the_one_that_ended_lets_callers_in_again(listener):
    """Also where nobody was kept out."""
    for _ in range(2):
        allow_new(listener)
        socket.create_connection(listener.getsockname(), timeout=20).close()
        refuse_new(listener)
    allow_new(listener)
    socket.create_connection(listener.getsockname(), timeout=20).close()


def test_where_there_is_no_filter_the_end_goes_on(caplog):
    """It is said, once, and nothing breaks."""
    caplog.set_level("INFO")
    closed = socket.socket()
    closed.close()
    refuse_new(closed)
    assert "no filter on a socket" in caplog.text
