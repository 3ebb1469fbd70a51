"""How much may wait at once. Beyond it a request is refused at once rather than answered late."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

RETRY_SECONDS = 1
INLINE_ROWS = 8  # up to which a request is answered in the event loop, faster than in a thread
OVERLOADED = "the service has as much to answer as it can; expected another attempt later"
# Refusals written in one turn of the event loop. Who is refused may ask again at once, and is read and
# refused again: written as they come, refusals would take the time of those who were let in. Their p99 was
# 1.5 to 2 times the usual then, and 0.9 to 1.3 times with one a turn: benchmarks.serving.overload, 32 of 192.
REFUSALS = 1


class OverloadedError(Exception):
    """There is as much to answer already as may wait."""


class Admission:
    """Counts the requests whose body has arrived and whose answer has not left."""

    def __init__(self, most_requests: int, most_rows: int) -> None:
        """Let in `most_requests` at once, and rows of batches up to `most_rows`."""
        self.most_requests, self._most_rows = most_requests, most_rows
        self.requests = 0
        self.rows = 0
        self._line: deque[Callable[[], None]] = deque()
        self._letting_go = False

    def enter(self) -> bool:
        """Let one request in, to `leave` later; False where there is no room."""
        if self.requests >= self.most_requests:
            return False
        self.requests += 1
        return True

    def leave(self) -> None:
        """One request less."""
        self.requests -= 1

    def enter_rows(self, rows: int) -> bool:
        """Let the rows of a batch in, to `leave_rows` later. A batch that is alone always fits."""
        if self.rows and self.rows + rows > self._most_rows:
            return False
        self.rows += rows
        return True

    def leave_rows(self, rows: int) -> None:
        """Fewer rows."""
        self.rows -= rows

    @contextmanager
    def request(self) -> Iterator[None]:
        """Room for one request.

        Raises:
            OverloadedError: there is none.
        """
        if not self.enter():
            raise OverloadedError
        try:
            yield
        finally:
            self.leave()

    @contextmanager
    def batch(self, rows: int) -> Iterator[None]:
        """Room for the rows of a request, where they are too many for the event loop.

        Raises:
            OverloadedError: there is none.
        """
        if rows <= INLINE_ROWS:
            yield
            return
        if not self.enter_rows(rows):
            raise OverloadedError
        try:
            yield
        finally:
            self.leave_rows(rows)

    async def turn(self) -> None:
        """Wait until a refusal may be written."""
        mine = asyncio.get_running_loop().create_future()
        # Its caller may have been cancelled.
        self.in_turn(lambda: None if mine.done() else mine.set_result(None))
        await mine

    def in_turn(self, refuse: Callable[[], None]) -> None:
        """Call `refuse` when a refusal may be written: a few in each turn of the loop, first come first."""
        self._line.append(refuse)
        if not self._letting_go:
            self._letting_go = True
            asyncio.get_running_loop().call_soon(self._let_go)

    def _let_go(self) -> None:
        for _ in range(min(REFUSALS, len(self._line))):
            self._line.popleft()()
        self._letting_go = bool(self._line)
        if self._letting_go:
            asyncio.get_running_loop().call_soon(self._let_go)
