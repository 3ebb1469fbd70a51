"""A line that changes while work is under way, in a terminal; elsewhere only what stays is printed."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pipelines.cli import quiet
from pipelines.machine.processes import Say

PLAIN_S = 10.0  # between two signs of life where lines cannot be overwritten


class Telling:
    """What `say` is for a command: a call prints a line for good, `progress` shows one for the moment."""

    def __init__(self, progress: Callable[[str], None], say: Say) -> None:
        """Print with `say`, and show the present with `progress`."""
        self._say, self.progress = say, progress

    def __call__(self, line: str) -> None:
        """Print a line."""
        self._say(line)


def progress_of(say: Say) -> Callable[[str], None]:
    """Where the line of the moment goes; nowhere for a `say` that has no place for it."""
    return say.progress if isinstance(say, Telling) else quiet


@contextmanager
def telling(*, silent: bool = False) -> Iterator[Say]:
    """A `say` for the length of the block: with a live line in a terminal, plain lines elsewhere."""
    if silent:
        yield quiet
        return
    if not sys.stdout.isatty():
        yield Telling(_now_and_then(print), print)
        return
    from rich.console import Console  # only here: a program that reads our output need not wait for it

    console = Console(highlight=False, markup=False)
    with console.status("") as status:
        yield Telling(status.update, lambda line: console.print(line, soft_wrap=True))


def _now_and_then(say: Say) -> Callable[[str], None]:
    told = time.monotonic()

    def progress(line: str) -> None:
        nonlocal told
        if time.monotonic() - told >= PLAIN_S:
            told = time.monotonic()
            say(line)

    return progress
