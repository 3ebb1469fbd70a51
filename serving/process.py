"""One worker: uvicorn around the service, ready before it accepts, drained before it ends."""

import asyncio
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING, Any

import uvicorn

from serving.settings import Settings

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOK_SECONDS = 0.05


class Server(uvicorn.Server):
    """uvicorn which, told to stop, first says so to who asks for `drain_seconds`, and answers meanwhile."""

    def __init__(self, config: uvicorn.Config, drain: Callable[[], None], drain_seconds: float) -> None:
        """`drain` makes the service say that it is not ready."""
        super().__init__(config)
        self._drain, self._drain_seconds = drain, drain_seconds
        self._leave_at: float | None = None
        self._signal: int = signal.SIGTERM

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal begins to drain; a second one, or one before the start, ends it at once."""
        if self._leave_at is not None or not self.started:
            super().handle_exit(sig, frame)
            return
        self._drain()
        self._signal, self._leave_at = sig, time.monotonic() + self._drain_seconds

    async def on_tick(self, counter: int) -> bool:
        """Every tenth of a second: whether to stop accepting."""
        if self._leave_at is not None and time.monotonic() >= self._leave_at and not self.should_exit:
            super().handle_exit(self._signal, None)
        return await super().on_tick(counter)


def serve(listener: socket.socket, settings: Settings, *, grace_seconds: int, supervised: bool) -> int:
    """Serve on `listener` until a signal; `supervised` accepts nothing before the service is ready."""
    from serving.http.limits import Limits
    from serving.http.wire import WireProtocol
    from serving.service import Flightline

    service: Any = Flightline  # the decorator made it a bentoml.Service
    sockets = [listener]

    def ready() -> bool:
        return bool(service.instance is not None and service.instance.versions.ready)

    def accept() -> bool:
        """Whether the wait before accepting is over."""
        if server.should_exit:
            sockets.clear()
        return server.should_exit or ready()

    wire: Any = partial(WireProtocol, receive_seconds=Limits.from_environment().receive_seconds)
    app = service.to_asgi()
    config = uvicorn.Config(
        app=_held(app, accept) if supervised else app,
        loop="uvloop",
        http=wire,
        ws="none",
        access_log=False,
        server_header=False,
        log_level="warning",
        timeout_graceful_shutdown=grace_seconds,
    )

    def drain() -> None:
        service.instance.versions.drain()

    server = Server(config, drain, settings.drain_seconds)
    # uvicorn raises the signal that stopped it once more when it is done; then there is nothing left to do.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    server.run(sockets=sockets)
    return 0 if server.started else 1


def end_with(lifeline: int) -> None:
    """Stop this process when the other end of the pipe `lifeline` closes: its supervisor is gone."""

    def wait() -> None:
        os.read(lifeline, 1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="lifeline", daemon=True).start()


def _held(app: "ASGIApp", accept: Callable[[], bool]) -> "ASGIApp":
    """`app`, whose start is complete only when `accept` says so: only then does uvicorn listen."""

    async def held(scope: "Scope", receive: "Receive", send: "Send") -> None:
        async def wait(message: "Message") -> None:
            if message["type"] == "lifespan.startup.complete":
                while not accept():  # noqa: ASYNC110 - what it looks at changes in another thread
                    await asyncio.sleep(LOOK_SECONDS)
            await send(message)

        await app(scope, receive, wait if scope["type"] == "lifespan" else send)

    return held
