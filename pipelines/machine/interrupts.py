"""An event loop that an interrupt ends as it ends the rest of a command."""

import asyncio
import signal
import threading
from collections.abc import Coroutine
from types import FrameType
from typing import Any, TypeVar

INTERRUPTS = (signal.SIGINT, signal.SIGTERM)

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run`, with an interrupt held back until `work` was cancelled and its loop is closed.

    A handler that raises would do so in the middle of whatever callback the loop is at. The error then stays
    behind in a task that nobody asks, which says so in a traceback when the process ends. asyncio cancels the
    work instead where SIGINT has Python's own handler; this does it for a command's, and for SIGTERM.

    Raises:
        KeyboardInterrupt: the handler that was there before raises it, after the loop, or at once when a
            second interrupt comes.
    """
    if threading.current_thread() is not threading.main_thread():
        return asyncio.run(work)  # signals are not heard here
    came: list[int] = []
    tasks: list[asyncio.Task[Any]] = []

    def cancel(signum: int, frame: FrameType | None) -> None:
        if came:  # somebody who asks twice does not wait
            heard[signum](signum, frame)
        came.append(signum)
        for task in tasks:
            if not task.done():
                task.get_loop().call_soon_threadsafe(task.cancel)

    async def cancellable() -> T:
        task = asyncio.current_task()
        if task is not None:
            tasks.append(task)
            if came:
                task.cancel()
        return await work

    before = {number: signal.getsignal(number) for number in INTERRUPTS}
    heard: dict[int, Any] = {number: handler for number, handler in before.items() if callable(handler)}
    try:
        for number in heard:
            signal.signal(number, cancel)
        return asyncio.run(cancellable())
    finally:
        for number, handler in heard.items():
            signal.signal(number, handler)
        work.close()  # it was never begun where a second interrupt came first
        if came:
            signal.raise_signal(came[0])
