"""What becomes of a connection when its server ends: the protocol on a socket, without a process."""

import asyncio
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from contract.errors import ConfigError
from serving.http.wire import protocol
from tests.serving.http.bad_inputs.wire import GOOD

pytestmark = pytest.mark.unit


async def answer(scope: Any, receive: Any, send: Any) -> None:  # noqa: ARG001 - an application's signature
    """The same to everyone."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


def heard(*, before: bytes = b"", after: bytes = b"") -> bytes:
    """What a caller hears who sends `before`, and `after` once the server has begun to end."""

    async def run() -> bytes:
        config, state = uvicorn.Config(answer, ws="none", log_level="critical"), ServerState()
        config.load()
        loop, make = asyncio.get_running_loop(), protocol({})
        server = await loop.create_server(
            lambda: make(config=config, server_state=state, app_state={}), "127.0.0.1", 0
        )
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(before)
        said = await reader.readuntil(b"\r\n\r\n") if before else b""
        while not state.connections:  # noqa: ASYNC110 - uvicorn says it in no other way
            await asyncio.sleep(0)
        for connection in list(state.connections):
            connection.shutdown()
        writer.write(after)
        said += await asyncio.wait_for(reader.read(), 30)
        writer.close()
        server.close()
        return said

    return asyncio.run(run())


def test_who_has_just_connected_is_answered() -> None:
    """The first request of a new connection is heard after all, and its answer is the last (S1)."""
    said = heard(after=GOOD)
    assert said.startswith(b"HTTP/1.1 200 OK")
    assert b"connection: close" in said


def test_who_says_nothing_is_not_waited_for() -> None:
    """A connection without a request, or with all of them answered, is closed without a word."""
    assert heard() == b""
    assert heard(before=GOOD).count(b"HTTP/1.1") == 1


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf", "soon", "3601"])
def test_a_deadline_must_be_one(seconds) -> None:
    """A wrong FLIGHTLINE_RECEIVE_SECONDS is a sentence."""
    with pytest.raises(ConfigError, match="FLIGHTLINE_RECEIVE_SECONDS"):
        protocol({"FLIGHTLINE_RECEIVE_SECONDS": seconds})
