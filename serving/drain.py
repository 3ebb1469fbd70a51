"""The end of a worker: no longer ready, it goes on answering for a moment, and then finishes."""

import asyncio
import signal
import threading
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import Message, Send


class Drain:
    """Holds SIGTERM back from the server for as long as whoever asks for /readyz needs to hear of it.

    The server would close its socket at once, and a balancer that still sends requests would see them fail.
    """

    def __init__(self, seconds: float) -> None:
        """Hold it back for `seconds`."""
        self.draining = False
        self._seconds = seconds

    def install(self) -> None:
        """Stand in front of the handler that the server has set. Does nothing where no server has set one."""
        previous = signal.getsignal(signal.SIGTERM)
        if threading.current_thread() is not threading.main_thread() or not callable(previous):
            return
        loop = asyncio.get_running_loop()

        def begin(number: int, frame: FrameType | None) -> None:
            if self.draining:  # asked twice: at once
                previous(number, frame)
                return
            self.draining = True
            loop.call_soon_threadsafe(loop.call_later, self._seconds, previous, number, None)

        signal.signal(signal.SIGTERM, begin)

    def sending(self, send: "Send") -> "Send":
        """`send`; while draining, one that asks callers not to keep their connections."""
        if not self.draining:
            return send

        async def closing(message: "Message") -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (b"connection", b"close")]
            await send(message)

        return closing
