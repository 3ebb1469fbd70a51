"""One worker: uvicorn around the service, ready before it accepts."""

import asyncio
import os
import signal
import socket
import sys
import threading
from collections.abc import Awaitable, Callable
from types import FrameType
from typing import TYPE_CHECKING, Any

import uvicorn

from serving.listening import refuse_new, take_queued

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOK_SECONDS = 0.05
# How long another thread, such as that of long batches, may keep the interpreter from the event loop. The
# loop gives it away at every system call; Python's own 5 ms are what many answers take.
SWITCH_SECONDS = 0.0005


def serve(listener: socket.socket, *, grace_seconds: int, supervised: bool) -> int:
    """Serve on `listener` until a signal; `supervised` accepts nothing, gRPC neither, before it is ready."""
    from serving.allocator import keep_freed
    from serving.http.wire import protocol
    from serving.service import Flightline

    keep_freed()
    sys.setswitchinterval(SWITCH_SECONDS)
    service: Any = Flightline  # the decorator made it a bentoml.Service
    sockets = [listener]

    def ready() -> bool:
        return bool(service.instance is not None and service.instance.versions.ready)

    def accept() -> bool:
        """Whether the wait before accepting is over."""
        if server.should_exit:
            sockets.clear()
        return server.should_exit or ready()

    async def begin() -> None:
        """Take calls over gRPC, too: the kernel deals connections out to every worker that listens."""
        if not server.should_exit:
            await service.instance.listen_grpc()

    service.held = supervised
    app = service.to_asgi()
    config = uvicorn.Config(
        app=_held(app, accept, begin) if supervised else app,
        loop="uvloop",
        http=protocol(),
        ws="none",
        access_log=False,
        proxy_headers=False,  # nobody asks for the caller's address, and it costs each request 2 µs
        server_header=False,
        log_level="warning",
        timeout_graceful_shutdown=grace_seconds,
    )
    server = _Server(config, shared=supervised)

    def end(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature signal asks for
        """Before uvicorn listens to signals nothing is in hand; it raises them again when nothing is left."""
        if not server.should_exit:
            raise SystemExit(0)

    signal.signal(signal.SIGTERM, end)
    server.run(sockets=sockets)
    return 0 if server.started else 1


class _Server(uvicorn.Server):
    """uvicorn's, which before it closes its socket accepts everybody who has come in."""

    def __init__(self, config: uvicorn.Config, *, shared: bool) -> None:
        """A `shared` socket is its supervisor's to close to newcomers: other workers may go on."""
        super().__init__(config)
        self._shared = shared

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept, close, and finish what was begun."""
        for listener in sockets or ():
            if not self._shared:
                refuse_new(listener)
            await take_queued(listener)
        await super().shutdown(sockets)


def end_with(lifeline: int) -> None:
    """Stop this process when the other end of the pipe `lifeline` closes: its supervisor is gone."""

    def wait() -> None:
        os.read(lifeline, 1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="lifeline", daemon=True).start()


def _held(app: "ASGIApp", accept: Callable[[], bool], begin: Callable[[], Awaitable[None]]) -> "ASGIApp":
    """`app`, whose start is complete when `accept` says so and `begin` was done: then uvicorn listens."""

    async def held(scope: "Scope", receive: "Receive", send: "Send") -> None:
        async def wait(message: "Message") -> None:
            if message["type"] == "lifespan.startup.complete":
                while not accept():  # noqa: ASYNC110 - what it looks at changes in another thread
                    await asyncio.sleep(LOOK_SECONDS)
                await begin()
            await send(message)

        await app(scope, receive, wait if scope["type"] == "lifespan" else send)

    return held
