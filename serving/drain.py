"""The end of a worker: no longer ready, it goes on answering for a moment, and then finishes."""

import asyncio
import logging
import signal
import socket
import threading
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Any

from serving.listening import allow_new, refuse_new, take_queued

if TYPE_CHECKING:
    from starlette.types import Message, Send

logger = logging.getLogger(__name__)


class Drain:
    """Holds SIGTERM back from the server for as long as whoever asks for /readyz needs to hear of it.

    The server would close its socket at once, and a balancer that still sends requests would see them fail.
    """

    def __init__(
        self,
        seconds: float,
        listener: socket.socket | None = None,
        ending: Callable[[], object] = lambda: None,
    ) -> None:
        """Hold it back for `seconds`; then close `listener` to newcomers, if the server does not.

        `ending` is called in the event loop when the server is about to hear of it, to end beside it.
        """
        self.draining = False
        self._seconds, self._listener, self._beside = seconds, listener, ending
        self._ending: asyncio.Task[None] | None = None

    def install(self) -> None:
        """Stand in front of the handler that the server has set. Does nothing where no server has set one."""
        previous = signal.getsignal(signal.SIGTERM)
        if threading.current_thread() is not threading.main_thread() or not callable(previous):
            return
        loop = asyncio.get_running_loop()
        if self._listener is not None:
            allow_new(self._listener)  # another worker's end may have closed it, and this one replaces that

        def end(number: int) -> None:
            self._ending = loop.create_task(self._end(previous, number))

        def begin(number: int, frame: FrameType | None) -> None:
            if self.draining:  # asked twice: at once
                previous(number, frame)
                return
            self.draining = True
            loop.call_soon_threadsafe(loop.call_later, self._seconds, end, number)

        signal.signal(signal.SIGTERM, begin)

    async def _end(self, previous: Callable[[int, FrameType | None], Any], number: int) -> None:
        try:
            self._beside()
        except Exception:
            logger.exception("what ends beside the server failed")  # the server ends all the same
        if self._listener is not None:
            refuse_new(self._listener)
            await take_queued(self._listener)
            self._listener.close()
        previous(number, None)

    def sending(self, send: "Send") -> "Send":
        """`send`; while draining, one that asks callers not to keep their connections."""
        if not self.draining:
            return send

        async def closing(message: "Message") -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (b"connection", b"close")]
            await send(message)

        return closing
