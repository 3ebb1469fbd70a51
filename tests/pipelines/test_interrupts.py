"""An interrupt inside an event loop ends a command as it does anywhere else."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading

import pytest

from pipelines.cli import INTERRUPTED
from pipelines.machine import interrupts
from tests.pipelines.stages.conftest import ROOT

# The handler runs in the middle of the work's own Python, where an error would stay behind in its task.
BUSY = """
import asyncio, signal
from pipelines.cli import command
from pipelines.machine.interrupts import run
async def ask(number):
    try:
        await asyncio.sleep(0)
        if number == 3:
            signal.raise_signal(signal.{how})
            print("the interrupt waits for the loop")
        await asyncio.sleep(60)
    finally:
        print("hung up", number)
async def work():
    await asyncio.gather(*map(ask, range(5)))
command(lambda _: {run}(work()))
"""


def ended(how: str, run: str) -> subprocess.CompletedProcess[str]:
    """A command that is interrupted in the middle of a task."""
    return subprocess.run(
        [sys.executable, "-c", BUSY.format(how=how, run=run)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


@pytest.mark.parametrize("how", ["SIGINT", "SIGTERM"])
def test_an_interrupt_inside_a_task_is_one_sentence(how):
    """Every task is cancelled and tidies up, code 130, and no word of a task that nobody asked."""
    done = ended(how, "run")
    assert done.returncode == INTERRUPTED
    assert done.stderr == "interrupted; run the same command again to continue.\n"
    heard, *tidied = done.stdout.splitlines()
    assert heard == "the interrupt waits for the loop"
    assert sorted(tidied) == [f"hung up {number}" for number in range(5)]


def test_without_it_the_interrupt_stays_behind_in_its_task():
    """What this is for: the sentence is followed by a traceback. Should Python mend that, this can go."""
    done = ended("SIGINT", "asyncio.run")
    assert done.returncode == INTERRUPTED
    assert "Task exception was never retrieved" in done.stderr


@pytest.fixture
def heard():
    """The interrupts that the process's own handler heard."""
    numbers: list[int] = []
    before = {number: signal.getsignal(number) for number in interrupts.INTERRUPTS}
    for number in before:
        signal.signal(number, lambda signum, _: numbers.append(signum))
    yield numbers
    for number, handler in before.items():
        signal.signal(number, handler)


def test_work_that_was_done_when_the_interrupt_came_does_not_swallow_it(heard):
    """The handler that was there before hears of it, and is there again."""
    handler = signal.getsignal(signal.SIGTERM)

    async def work() -> int:
        signal.raise_signal(signal.SIGTERM)
        return 7

    assert interrupts.run(work()) == 7
    assert heard == [signal.SIGTERM]
    assert signal.getsignal(signal.SIGTERM) is handler


def test_work_that_is_cancelled_says_so_where_the_handler_does_not_raise(heard):
    """Nobody takes unfinished work for done."""

    async def work() -> None:
        signal.raise_signal(signal.SIGINT)
        await asyncio.sleep(60)

    with pytest.raises(asyncio.CancelledError):
        interrupts.run(work())
    assert heard == [signal.SIGINT]


def test_who_asks_a_second_time_does_not_wait(heard):
    """What cannot be cancelled holds up the first interrupt alone."""

    def impatient(signum, _) -> None:
        heard.append(signum)
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, impatient)
    begun: list[str] = []

    async def work() -> None:
        signal.raise_signal(signal.SIGINT)
        assert heard == []
        try:
            await asyncio.sleep(60)
        finally:
            begun.append("tidying up")
            signal.raise_signal(signal.SIGTERM)
            begun.append("not reached")

    with pytest.raises(KeyboardInterrupt):
        interrupts.run(work())
    assert begun == ["tidying up"]
    assert heard == [signal.SIGTERM, signal.SIGINT]


@pytest.mark.parametrize("moment", ["install", "restore"])
def test_an_interrupt_while_handlers_are_changed_is_not_lost(heard, monkeypatch, moment):
    """Both are as before, and the one that came is heard."""
    before = {number: signal.getsignal(number) for number in interrupts.INTERRUPTS}
    change, changed = signal.signal, []

    def signal_in_between(number, handler):
        done = change(number, handler)
        changed.append(number)
        if len(changed) == (1 if moment == "install" else 3):
            signal.raise_signal(signal.SIGINT if moment == "install" else signal.SIGTERM)
        return done

    async def work() -> None:
        await asyncio.sleep(0)

    monkeypatch.setattr(interrupts.signal, "signal", signal_in_between)
    with contextlib.suppress(asyncio.CancelledError):
        interrupts.run(work())
    monkeypatch.undo()
    assert heard == [signal.SIGINT if moment == "install" else signal.SIGTERM]
    assert {number: signal.getsignal(number) for number in interrupts.INTERRUPTS} == before


def test_an_interrupt_that_is_ignored_stays_ignored(heard):
    """As under nohup."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    async def work() -> int:
        signal.raise_signal(signal.SIGINT)
        await asyncio.sleep(0)
        return 7

    assert interrupts.run(work()) == 7
    assert heard == []


def test_a_thread_hears_no_signals_and_runs_all_the_same():
    """Handlers belong to the main thread."""
    found: list[int] = []

    async def work() -> int:
        return 7

    thread = threading.Thread(target=lambda: found.append(interrupts.run(work())))
    thread.start()
    thread.join(10)
    assert found == [7]
