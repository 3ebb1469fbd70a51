"""Work of another thread, done in the event loop's time: a slice between two of its turns.

Beside the loop, Python code takes the interpreter from it at every switch, and on a machine with one core the
scheduler then gives the thread milliseconds at a time, in which nobody is answered. In slices the same work
delays each turn by one of its steps.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import Future, wait
from functools import partial
from typing import TypeAlias, TypeVar

T = TypeVar("T")
Steps: TypeAlias = Generator[None, None, T]  # it yields where others may have a turn

SLICE_SECONDS = 0.00004  # after which no further step of the same turn is begun
WAIT_SECONDS = 0.001  # that a slice waits for a turn in which nobody else does
LOOK_SECONDS = 0.5  # a loop that no longer runs is noticed after that


def at_once(steps: Steps[T]) -> T:
    """The result of `steps`, with nobody's turn between them."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            value: T = end.value
            return value


class Slices:
    """Those of one loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, busy: Callable[[], bool]) -> None:
        """Take them from `loop`, preferably while it is not `busy`."""
        self._loop, self._busy = loop, busy

    def run(self, steps: Steps[T], haste: Callable[[], int] = lambda: 1) -> T:
        """The result of `steps`, for another thread than the loop's; slices are `haste()` times as long.

        Where the loop does not run any more, this thread does what is left.
        """
        done: Future[T] = Future()
        taking = threading.Lock()

        def one(*, waited: bool = False) -> None:
            if self._busy() and not waited:
                self._loop.call_later(WAIT_SECONDS, partial(one, waited=True))
                return
            with taking:
                if done.cancelled():
                    return
                end = time.perf_counter() + SLICE_SECONDS * haste()
                try:
                    while time.perf_counter() < end:
                        next(steps)
                except StopIteration as stop:
                    done.set_result(stop.value)
                except Exception as error:  # noqa: BLE001 - it is raised where the result is waited for
                    done.set_exception(error)
                else:
                    self._loop.call_soon(one)

        try:
            self._loop.call_soon_threadsafe(one)
        except RuntimeError:  # closed
            return at_once(steps)
        while not wait([done], LOOK_SECONDS).done:
            if not self._loop.is_running():
                with taking:
                    if done.cancel():  # else it was done just now
                        return at_once(steps)
        return done.result()
