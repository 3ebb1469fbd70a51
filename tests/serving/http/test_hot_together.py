"""What arrives together is answered by one run, and nobody is harmed by whom they arrived with."""

import asyncio
import json
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pytest

from serving.http import ticks
from serving.http.admission import INLINE_ROWS, REFUSALS, Admission
from serving.http.limits import Limits
from serving.models.predictor import Predictor
from serving.recording import tally
from tests.serving.http.ways import DEADLINE, ROW, batch, together

pytestmark = pytest.mark.unit


def single(width: float = 1.5, **change: Any) -> bytes:
    """The body of one row."""
    return json.dumps({"row": ROW | {"width": width}, **change}).encode()


@pytest.fixture
def runs(monkeypatch) -> list[int]:
    """The number of rows of each run of a graph."""
    seen: list[int] = []
    real = Predictor.predict

    def predict(self: Predictor, numbers: Any, categories: Any) -> Any:
        seen.append(len(numbers))
        return real(self, numbers, categories)

    monkeypatch.setattr(Predictor, "predict", predict)
    return seen


def replace_predict(monkeypatch: Any, instead: Callable[[Any, Callable[[], Any]], Any]) -> None:
    """`instead` gets the numbers, and the real thing to call."""
    real = Predictor.predict
    monkeypatch.setattr(
        Predictor,
        "predict",
        lambda self, numbers, categories: instead(numbers, lambda: real(self, numbers, categories)),
    )


def test_one_run_answers_all_that_arrived_together(both, runs) -> None:
    """Each gets the answer to its own row, with its own id."""
    widths = [index / 4 for index in range(20)]
    heard = together(*(both.send([single(width)]) for width in widths))
    assert runs == [20]
    alone = [together(both.send([single(width)]))[0] for width in widths]
    for one, other in zip(heard, alone, strict=True):
        assert json.loads(one.body)["scores"] == pytest.approx(json.loads(other.body)["scores"], abs=1e-6)
    assert len({one.headers["x-request-id"] for one in heard}) == 20
    assert not both.passed_on


async def one_a_turn(hot: Any, count: int) -> list[Any]:
    """The answers to singles that arrive in so many turns of the loop, one after the other."""
    tasks = []
    for index in range(count):
        tasks.append(asyncio.create_task(hot.send([single(index / 100)])))
        await asyncio.sleep(0)
    return await asyncio.wait_for(asyncio.gather(*tasks), DEADLINE)


def test_a_run_waits_as_long_as_each_turn_brings_more(both, runs, monkeypatch) -> None:
    """Up to as many rows as make a row cheap; then those that come are the next run's (S3)."""
    monkeypatch.setattr(ticks, "PATIENCE", DEADLINE)
    heard = asyncio.run(one_a_turn(both, ticks.ENOUGH_ROWS + 5))
    assert [one.status for one in heard] == [200] * (ticks.ENOUGH_ROWS + 5)
    assert runs == [ticks.ENOUGH_ROWS, 5]


def test_a_run_waits_for_nobody_once_its_first_row_has_waited(both, runs, monkeypatch) -> None:
    """Callers who come without end do not hold up those who were there."""
    monkeypatch.setattr(ticks, "PATIENCE", 0)
    asyncio.run(one_a_turn(both, 5))
    assert runs == [1] * 5


def test_what_is_odd_is_counted_when_the_answer_has_left(both, monkeypatch) -> None:
    """Nobody has to ask for it, and nobody waits for it: what is not counted yet has a bound."""
    monkeypatch.setattr(tally, "AT_ONCE", 3)
    events: list[str] = []
    some = tally.Tally.settle_some

    def counted(self: tally.Tally) -> bool:
        more = some(self)
        if more:
            events.append("counted")
        return more

    monkeypatch.setattr(tally.Tally, "settle_some", counted)

    async def seven() -> None:
        for _ in range(7):
            await both.send([single()])
            events.append("answered")

    asyncio.run(asyncio.wait_for(seven(), DEADLINE))
    assert events == [*["answered"] * 3, "counted"] * 2 + ["answered"]


def test_short_batches_share_the_run_and_long_ones_have_their_own(both, runs) -> None:
    """Rows of singles and of short batches are one matrix."""
    heard = together(
        both.send([single()]),
        both.send([batch(INLINE_ROWS)], path="/predict_batch"),
        both.send([batch(INLINE_ROWS + 1)], path="/predict_batch"),
    )
    assert [one.status for one in heard] == [200] * 3
    assert sorted(runs) == sorted([1 + INLINE_ROWS, INLINE_ROWS + 1])


def test_each_version_of_each_model_has_its_own_run(host, make_bundle, in_front, runs) -> None:
    """Rows of two models never meet in one matrix."""
    host.serve(make_bundle(model="other", seed=5), version="9")
    hot = in_front(host)
    runs.clear()  # of loading
    heard = together(*(hot.send([single()], query=f"model={name}") for name in ("toy", "other", "toy")))
    assert [one.headers["x-model"] for one in heard] == ["toy", "other", "toy"]
    assert sorted(runs) == [1, 2]


def test_a_new_version_answers_from_the_swap_on(host, make_bundle, in_front) -> None:
    """What was compiled for the old one is forgotten with it."""
    hot = in_front(host)
    before = together(hot.send([single()]))[0]
    host.serve(make_bundle(seed=7), version="2")
    after = together(hot.send([single()]))[0]
    assert (before.headers["x-model-version"], after.headers["x-model-version"]) == ("1", "2")
    assert len(hot.hot._plans) == 1


def test_a_long_batch_does_not_hold_up_the_loop(both, monkeypatch) -> None:
    """A row that comes after it is answered while it runs."""
    answered = threading.Event()

    def instead(numbers: Any, real: Callable[[], Any]) -> Any:
        if len(numbers) > INLINE_ROWS:
            assert answered.wait(DEADLINE)
        return real()

    replace_predict(monkeypatch, instead)

    async def small() -> Any:
        heard = await both.send([single()])
        answered.set()
        return heard

    heard = together(both.send([batch(500)], path="/predict_batch"), small())
    assert [one.status for one in heard] == [200, 200]


def test_who_goes_away_takes_nobody_along(both) -> None:
    """A cancelled caller is not logged; the others of the same run are answered and logged."""

    async def scene() -> list[Any]:
        tasks = [asyncio.create_task(both.send([single(id=f"caller-{index}")])) for index in range(3)] + [
            asyncio.create_task(both.send([batch(50)], path="/predict_batch"))
        ]
        await asyncio.sleep(0)  # all of them wait for their answers now
        tasks[1].cancel()
        tasks[3].cancel()
        return await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), DEADLINE)

    answers = asyncio.run(scene())
    assert [isinstance(answer, asyncio.CancelledError) for answer in answers] == [False, True, False, True]
    assert [answers[index].status for index in (0, 2)] == [200, 200]
    assert both.hot._admission.requests == both.hot._admission.rows == 0
    both.host.log.close()
    logged = pl.read_parquet(both.host.settings.predictions / "toy" / "*.parquet")["entity_id"].to_list()
    assert logged == ["caller-0", "caller-2"]


@pytest.mark.parametrize("how", ["raises", "not finite"])
def test_a_row_that_the_model_fails_at_fails_alone(both, monkeypatch, how) -> None:
    """The others of its run are answered; it is a 500 with its sentence, and is not logged."""

    def instead(numbers: Any, real: Callable[[], Any]) -> Any:
        labels, scores = real()
        bad = numbers[:, 0] == 3
        if bad.any() and how == "raises":
            raise RuntimeError("this graph fails at 3")
        return labels, np.where(bad[:, None], np.float32("nan"), scores)

    replace_predict(monkeypatch, instead)
    requests = [both.send([single(width)]) for width in (1, 2, 3, 4)]

    async def scene() -> list[Any]:
        return await asyncio.wait_for(asyncio.gather(*requests, return_exceptions=True), DEADLINE)

    heard = asyncio.run(scene())
    # Starlette answers a defect with 500 and raises it once more, for the server's log.
    assert [200 if not isinstance(one, Exception) and one.status == 200 else 500 for one in heard] == [
        200,
        200,
        500,
        200,
    ]
    both.host.log.close()
    logged = pl.read_parquet(both.host.settings.predictions / "toy" / "*.parquet")
    assert sorted(logged["feature.width"].to_list()) == [1, 2, 4]
    labels = {"model": "toy", "version": "1"}  # a rollout counts what a version could not answer
    assert both.host.metrics.registry.get_sample_value("flightline_failed_requests_total", labels) == 1


def test_beyond_the_limit_is_refused_at_once_and_told_when_to_come_back(host, in_front) -> None:
    """The first are answered, the others get 503 with Retry-After; then there is room again."""
    hot = in_front(host, Limits(requests=3))
    heard = together(*(hot.send([single()]) for _ in range(10)))
    assert [one.status for one in heard] == [200] * 3 + [503] * 7
    refused = heard[-1]
    assert refused.headers["retry-after"] == "1"
    assert refused.headers["x-request-id"]
    assert set(json.loads(refused.body)) == {"error", "problems"}
    assert [one.status for one in together(*(hot.send([single()]) for _ in range(3)))] == [200] * 3
    from prometheus_client import generate_latest

    text = generate_latest(host.metrics.registry).decode()
    assert 'flightline_refused_requests_total{status="503"} 7.0' in text


def test_bad_requests_count_towards_the_limit_too(host, in_front) -> None:
    """Explaining costs more than answering."""
    hot = in_front(host, Limits(requests=1))
    assert together(hot.send([b"{}"]))[0].status == 422
    heard = together(hot.send([single()]), hot.send([b"{}"]), hot.send([b"{}"], path="/predict/x"))
    assert [one.status for one in heard] == [200, 503, 503]


def test_rows_of_long_batches_have_a_limit_of_their_own(host, in_front) -> None:
    """Two that do not fit together do not wait for each other; one alone always fits."""
    hot = in_front(host, Limits(rows=20))
    heard = together(*(hot.send([batch(15)], path="/predict_batch") for _ in range(2)), hot.send([single()]))
    assert [one.status for one in heard] == [200, 503, 200]
    assert together(hot.send([batch(100)], path="/predict_batch"))[0].status == 200


def test_refusals_are_written_a_few_a_turn() -> None:
    """So that a crowd who is refused does not take the time of those who were let in."""

    async def scene() -> list[int]:
        admission = Admission(1, 1)
        waiting = [asyncio.create_task(admission.turn()) for _ in range(2 * REFUSALS + 1)]
        done: list[int] = []
        while sum(task.done() for task in waiting) < len(waiting):
            before = sum(task.done() for task in waiting)
            await asyncio.sleep(0)
            done.append(sum(task.done() for task in waiting) - before)
        return done

    done = asyncio.run(scene())
    assert max(done) == REFUSALS
    assert sum(done) == 2 * REFUSALS + 1


def test_a_refused_caller_who_goes_away_is_passed_over() -> None:
    """Its turn goes to the next."""

    async def scene() -> None:
        admission = Admission(1, 1)
        gone, stays = (asyncio.create_task(admission.turn()) for _ in range(2))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.wait_for(stays, DEADLINE)

    asyncio.run(scene())
