"""The live line of long work: what is being done now, how far, and for how long; plain lines elsewhere.

A `Say` prints what stays. `step` tells it what is being done at the moment: in a terminal that is one line,
drawn over and over; in a log it is the step's name when it begins.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
)

from pipelines.cli import quiet
from pipelines.machine.processes import Say


def step(say: Say, what: str, done: float = 0, total: float = 0) -> None:
    """Tell `say` that `what` is being done now, `done` of `total` in any unit (`total` 0: nobody knows).

    To be called as often as anything changes: only a new `what` makes a line in a log. A `say` that is not of
    `showing` (a test's, a quiet one) is told nothing.
    """
    if isinstance(say, _Steps):
        say.step(what, done, total)


@contextmanager
def showing(title: str, *, as_json: bool = False, console: Console | None = None) -> Iterator[Say]:
    """The `Say` of a command inside the block: live in a terminal, lines elsewhere, nothing for JSON.

    `title` stands in front of the live line, such as `staging flights`.
    """
    if as_json:
        yield quiet
        return
    console = console or Console(file=sys.stdout, highlight=False, soft_wrap=True)
    if not console.is_terminal:
        yield _Lines(title)
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TaskProgressColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as drawn:
        yield _Drawn(title, drawn)


class _Steps:
    """A `Say` that knows steps."""

    def __call__(self, text: str) -> None:
        """Print a line that stays."""
        raise NotImplementedError

    def step(self, what: str, done: float, total: float) -> None:
        """Show what is being done."""
        raise NotImplementedError


class _Lines(_Steps):
    """For a log: each step once."""

    def __init__(self, title: str) -> None:
        self._title, self._now = title, ""

    def __call__(self, text: str) -> None:
        print(text, flush=True)

    def step(self, what: str, done: float, total: float) -> None:  # noqa: ARG002 - a log has no place for them
        if what != self._now:
            self._now = what
            print(f"{self._title}: {what} …", flush=True)


class _Drawn(_Steps):
    """For a terminal: lines that stay scroll by above the live one."""

    def __init__(self, title: str, drawn: Progress) -> None:
        self._title, self._drawn = escape(title), drawn
        self._task = drawn.add_task(self._title, total=None)
        self._now = ""

    def __call__(self, text: str) -> None:
        self._drawn.console.print(text, markup=False)

    def step(self, what: str, done: float, total: float) -> None:
        text = f"{self._title}: {escape(what)}"
        if what != self._now:  # its own clock, its own bar
            self._now = what
            self._drawn.reset(self._task, total=total or None, description=text)
        self._drawn.update(self._task, completed=done, total=total or None)
