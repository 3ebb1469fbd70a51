"""Where rows are completed: a few in the event loop, which nothing holds up, and a batch beside it."""

import asyncio
import threading

import pytest

from serving.features import sqlite_rows
from serving.features.completion import Completer
from serving.features.sqlite_store import SqliteStore
from serving.http import completing as module
from serving.http.admission import INLINE_ROWS
from serving.http.completing import Completing
from serving.recording.metrics import Metrics
from tests.serving.features.completed import CONTRACT, KEYS, departure
from tests.training.worlds import minute

pytestmark = pytest.mark.unit

WAIT_S = 20.0


@pytest.fixture
def completer(open_stores):
    """A completer over an empty SQLite file."""
    return Completer(open_stores("sqlite"), cache_seconds=0)


@pytest.fixture
def completing(completer):
    """What completes the rows of requests."""
    return Completing(completer, Metrics())


@pytest.fixture
def held(monkeypatch):
    """A batch's look-up stops in the middle, says so by the first event, and awaits the second."""
    reached, go_on, found = threading.Event(), threading.Event(), sqlite_rows.found

    def slow(*arguments):
        if threading.current_thread() is not threading.main_thread():
            reached.set()
            go_on.wait(WAIT_S)
        return found(*arguments)

    monkeypatch.setattr(sqlite_rows, "found", slow)
    return reached, go_on


def whole(completing, count):
    """So many rows completed at noon."""
    rows = [{"origin": "JFK"}] * count
    return completing.whole(CONTRACT, rows, [KEYS] * count, [minute(0)] * count)


def test_a_few_rows_wait_for_no_batch(completer, completing, held):
    """They are answered while the look-up of a batch stands still, and with what came in meanwhile."""
    completer.accept([CONTRACT], [departure(1, minute(-5), 10)])
    completer.complete(CONTRACT, [{"origin": "JFK"}], [KEYS], [minute(0)])
    reached, go_on = held

    async def both():
        batch = asyncio.create_task(whole(completing, 100))
        assert await asyncio.to_thread(reached.wait, WAIT_S)
        watchdog = threading.Timer(WAIT_S / 4, go_on.set)  # so that a loop that waits fails, and ends
        watchdog.start()
        completer.accept([CONTRACT], [departure(2, minute(-1), 30)])
        few = await whole(completing, INLINE_ROWS)
        in_time = not go_on.is_set()
        go_on.set()
        watchdog.cancel()
        return in_time, few.rows[0]["delay"], {row["delay"] for row in (await batch).rows}

    assert asyncio.run(both()) == (True, 20.0, {10.0})


def test_a_few_rows_are_completed_in_the_event_loop_but_not_the_first(completing, monkeypatch):
    """The first ones of a contract register what it reads, which may wait for others who write."""
    threads, read, register = [], SqliteStore.read, SqliteStore.register

    def note(what, call):
        def noted(*arguments):
            threads.append((what, threading.current_thread() is threading.main_thread()))
            return call(*arguments)

        return noted

    monkeypatch.setattr(SqliteStore, "read", note("read", read))
    monkeypatch.setattr(SqliteStore, "register", note("register", register))
    for count in (1, INLINE_ROWS, INLINE_ROWS + 1):
        asyncio.run(whole(completing, count))
    assert threads == [("register", False), ("read", False), ("read", True), ("read", False)]


def test_batches_over_one_file_take_turns(completing, held, monkeypatch):
    """The second one takes no thread before the first is done: others want the threads that there are."""
    reached, go_on = held
    begun: list[str] = []
    run = module.run_in_threadpool

    async def counted(work):
        begun.append("batch")
        return await run(work)

    monkeypatch.setattr(module, "run_in_threadpool", counted)

    async def both():
        first = asyncio.create_task(whole(completing, 100))
        assert await asyncio.to_thread(reached.wait, WAIT_S)
        second = asyncio.create_task(whole(completing, 100))
        for _ in range(3):
            await asyncio.sleep(0)
        meanwhile = len(begun)
        go_on.set()
        await asyncio.gather(first, second)
        return meanwhile

    assert asyncio.run(both()) == 1
    assert len(begun) == 2
