"""The bytes of one request, which must all arrive by a deadline and be no more than was agreed."""

import io
import socket
import time
from collections.abc import Callable
from typing import Any


class LateError(Exception):
    """The request did not arrive in time."""


class LargeError(Exception):
    """The request is larger than was agreed."""


class Arriving(io.RawIOBase):
    """A connection as a file to read from.

    A timeout of the socket alone bounds each read: who sends a byte now and then would keep a thread long.
    """

    def __init__(
        self, connection: socket.socket, most: int, seconds: float, now: Callable[[], float] = time.monotonic
    ) -> None:
        """Give `most` bytes, until `allow` says more, and nothing `seconds` from now."""
        self._connection, self._left, self._now = connection, most, now
        self._deadline = now() + seconds

    def allow(self, more: int) -> None:
        """Agree to `more` bytes."""
        self._left += more

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """The next bytes.

        Raises:
            LateError: the time is over.
            LargeError: all bytes that were agreed have come, and more are wanted.
        """
        view = memoryview(buffer)[: self._left]
        if not len(view):
            raise LargeError
        left = self._deadline - self._now()
        if left <= 0:
            raise LateError
        self._connection.settimeout(left)
        try:
            count = self._connection.recv_into(view)
        except TimeoutError:
            raise LateError from None
        self._left -= count
        return count
