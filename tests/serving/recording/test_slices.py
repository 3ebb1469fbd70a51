"""Work is done in the event loop's time without holding up its turns, and is done wherever the loop is."""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from serving.recording import prediction_log
from serving.recording.log_settings import LogSettings
from serving.recording.prediction_log import PredictionLog
from serving.recording.segments import publish
from serving.recording.slices import SLICE_SECONDS, Slices, at_once
from tests.serving.recording.runs import answers

pytestmark = pytest.mark.unit

STEP_SECONDS = 3 * SLICE_SECONDS  # so that every step is a slice


def steps(count: int, seen: list[int]):
    """Work of `count` steps, which note the thread they are done by."""
    for _ in range(count):
        end = time.perf_counter() + STEP_SECONDS
        while time.perf_counter() < end:
            pass
        seen.append(threading.get_ident())
        yield
    return count


def beside(work, *, busy=lambda: False, haste=1):
    """Run `work` from another thread in a loop's slices; its result and the turns that the loop had."""

    async def run():
        loop, turns = asyncio.get_running_loop(), 0
        waiting = asyncio.ensure_future(asyncio.to_thread(Slices(loop, busy).run, work, lambda: haste))
        while not waiting.done():
            turns += 1
            await asyncio.sleep(0)
        return await waiting, turns

    return asyncio.run(run())


def test_the_loop_does_the_work_and_has_turns_between_its_steps() -> None:
    """Who asks meanwhile waits for one step and not for all."""
    seen: list[int] = []
    found, turns = beside(steps(20, seen))
    assert (found, len(seen)) == (20, 20)
    assert set(seen) == {threading.get_ident()}
    assert turns >= 20


def test_with_haste_a_slice_has_more_steps() -> None:
    """Rows that wait for several segments must not become ever more."""
    calls = 0

    def busy() -> bool:  # asked once before each slice
        nonlocal calls
        calls += 1
        return False

    assert beside(steps(20, []), busy=busy, haste=10)[0] == 20
    assert calls < 20


def test_a_slice_waits_a_moment_while_somebody_is_served() -> None:
    """It is put off while the loop is busy, and comes all the same where that never ends."""
    seen: list[int] = []
    began = time.perf_counter()
    assert beside(steps(5, seen), busy=lambda: True)[0] == 5
    assert set(seen) == {threading.get_ident()}
    assert (
        time.perf_counter() - began > 5 * STEP_SECONDS + 5 * 0.0009
    )  # each slice waited, in a timer's grain


def test_what_goes_wrong_is_raised_where_the_result_is_waited_for() -> None:
    """The loop goes on."""

    def wrong():
        yield
        raise ValueError("of the work")

    with pytest.raises(ValueError, match="of the work"):
        beside(wrong())


@pytest.mark.parametrize("close", [False, True], ids=["stopped", "closed"])
def test_where_the_loop_has_ended_the_thread_does_what_is_left(close) -> None:
    """A service that ends writes its last predictions, whoever is there to make them."""
    seen: list[int] = []
    loop = asyncio.new_event_loop()
    slices = Slices(loop, lambda: False)
    if close:
        loop.close()
    with ThreadPoolExecutor(1) as other:
        assert other.submit(slices.run, steps(3, seen)).result(10) == 3
        assert set(seen) == {other.submit(threading.get_ident).result()}
    loop.close()


def test_a_loop_that_stops_in_the_middle_leaves_the_rest_to_the_thread() -> None:
    """Each step is done once."""
    seen: list[int] = []
    loop = asyncio.new_event_loop()

    def work():
        for number in range(6):
            seen.append(number)
            if number == 2:
                loop.stop()
            yield from steps(1, [])

    with ThreadPoolExecutor(1) as other:
        done = other.submit(Slices(loop, lambda: False).run, work())
        loop.run_forever()
        done.result(10)
    loop.close()
    assert seen == [*range(6)]


def test_at_once_is_the_same_without_turns() -> None:
    """For whoever has no loop."""
    assert at_once(steps(3, [])) == 3


def test_a_log_in_arrears_makes_longer_slices_and_takes_no_rests(tmp_path, contract, monkeypatch) -> None:
    """Five segments wait: the fewer are left, the shorter the slices, and the last is written calmly."""
    hastes: list[int] = []
    rests: list[bool] = []

    def made(_: Slices, work, haste):
        hastes.append(haste())
        return at_once(work)

    def published(folder, name, parts, *, sync, rest):
        rests.append(rest)
        return publish(folder, name, parts, sync=sync, rest=rest)

    monkeypatch.setattr(Slices, "run", made)
    monkeypatch.setattr(prediction_log, "publish", published)
    log = PredictionLog(tmp_path / "log", "7", LogSettings(rows=4))
    loop = asyncio.new_event_loop()
    log.share(loop)
    for start in range(0, 20, 4):
        log.append(answers(contract, 4, start))
    log.start()
    log.close()
    loop.close()
    assert hastes == [16, 12, 8, 4, 1]
    assert rests == [False] * 4 + [True]
    assert log.counts.written == 20
