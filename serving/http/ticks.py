"""All rows that arrive in one turn of the event loop, for one version of a model, answered by one run."""

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from serving.http.admission import INLINE_ROWS, Admission
from serving.http.compiled import Packed, Plan, Row, split_scores
from serving.http.whole import Caller
from serving.recording.answered import Answered, Matrices
from serving.recording.prediction_log import PredictionLog

logger = logging.getLogger(__name__)


class Waiting(msgspec.Struct):
    """A request whose rows are good, until its caller has the answer."""

    rows: list[Row]
    single: bool  # asked at /predict
    request_id: str
    entities: list[str | None]  # one a row, as are the moments
    moments: list[datetime]
    began: float  # time.perf_counter() when the body had arrived
    received_at: datetime
    caller: Caller
    admitted: bool  # and to be let go of when the caller has its answer


class _Run(NamedTuple):
    """What one run of the graph took and gave."""

    packed: Packed
    labels: NDArray[np.int64]
    scores: NDArray[np.float32]
    texts: list[bytes]


class Ticks:
    """Gathers requests and answers them. All of it happens in the event loop but the runs of long batches."""

    def __init__(self, log: PredictionLog, admission: Admission) -> None:
        """Append to `log` what is answered, and let go of what was let in."""
        self._log, self._admission = log, admission
        self._waiting: dict[Plan, list[Waiting]] = {}
        # One thread: a worker has about one core, on which several long runs would only take turns.
        self._long = ThreadPoolExecutor(1, "long-batches")

    def add(self, plan: Plan, waiting: Waiting) -> None:
        """Answer `waiting` with all others of this turn, or, where it is long, beside them."""
        if len(waiting.rows) > INLINE_ROWS:
            run = asyncio.get_running_loop().run_in_executor(self._long, _run, plan, waiting.rows)
            run.add_done_callback(lambda done: self._long_done(plan, waiting, done))
            return
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._tick)
        self._waiting.setdefault(plan, []).append(waiting)

    def close(self) -> None:
        """Wait for the runs that were begun."""
        self._long.shutdown()

    def _tick(self) -> None:
        gathered, self._waiting = self._waiting, {}
        for plan, members in gathered.items():
            self._admission.requests -= sum(waiting.admitted for waiting in members)
            # Callers who went away meanwhile are not answered, and nobody else hears of it.
            present = [waiting for waiting in members if not waiting.caller.disconnected]
            rows = [row for waiting in present for row in waiting.rows]
            if rows:
                self._answer_or_give_back(plan, present, rows, partial(_run, plan, rows))

    def _long_done(self, plan: Plan, waiting: Waiting, done: "asyncio.Future[_Run]") -> None:
        if not waiting.caller.disconnected:
            self._answer_or_give_back(plan, [waiting], waiting.rows, done.result)

    def _answer_or_give_back(
        self, plan: Plan, members: list[Waiting], rows: list[Row], run: Callable[[], _Run]
    ) -> None:
        """Whatever goes wrong, each request goes on alone, the slow way, where its failure is its own."""
        try:
            answers = self._answers(plan, members, rows, run())
        except Exception:
            logger.exception("%s %s could not answer", plan.contract.model, plan.predictor.version)
            for waiting in members:
                waiting.caller.give_back()
            return
        for waiting, (request_id, body) in zip(members, answers, strict=True):
            waiting.caller.answer(plan.fields, request_id, body)

    def _answers(
        self, plan: Plan, members: list[Waiting], rows: list[Row], run: _Run
    ) -> list[tuple[bytes, bytes]]:
        """The id and the body of each answer, when all of them are counted and logged."""
        labels: list[int] = run.labels.tolist()
        now, tally = time.perf_counter(), plan.tally
        tally.rows(map(plan.classes.__getitem__, labels))
        plan.count(run.packed)
        record = _Record()
        answers: list[tuple[bytes, bytes]] = []
        start = 0
        for waiting in members:
            seconds = now - waiting.began
            tally.request(seconds)
            record.add(waiting, seconds * 1000)
            request_id = waiting.request_id.encode()
            if waiting.single:
                answers.append((request_id, plan.render_one(labels[start], run.texts[start], request_id)))
                start += 1
            else:
                end = start + len(waiting.rows)
                body = plan.render_many(labels[start:end], run.texts[start:end], request_id)
                answers.append((request_id, body))
                start = end
        self._log.append(record.answered(plan, run))
        return answers


class _Record:
    """The lists that the prediction log takes."""

    __slots__ = ("entities", "latencies", "moments", "received", "request_ids")

    def __init__(self) -> None:
        self.request_ids: list[str] = []
        self.entities: list[str | None] = []
        self.received: list[datetime] = []
        self.moments: list[datetime] = []
        self.latencies: list[float] = []

    def add(self, waiting: Waiting, latency_ms: float) -> None:
        """The rows of one request; of several rows each has its index in its id."""
        count = len(waiting.rows)
        if count == 1:
            self.request_ids.append(waiting.request_id)
        else:
            self.request_ids += [f"{waiting.request_id}/{index}" for index in range(count)]
        self.entities += waiting.entities
        self.moments += waiting.moments
        self.received += [waiting.received_at] * count
        self.latencies += [latency_ms] * count

    def answered(self, plan: Plan, run: _Run) -> Answered:
        """All of it, for one call of the log."""
        bundle = plan.predictor.bundle
        return Answered(
            contract=plan.contract,
            version=plan.predictor.version,
            digest=bundle.digest,
            request_ids=self.request_ids,
            entity_ids=self.entities,
            received_at=self.received,
            event_times=self.moments,
            latency_ms=self.latencies,
            labels=run.labels,
            scores=run.scores,
            values=Matrices(plan.contract, run.packed.exact, run.packed.categories),
        )


def _run(plan: Plan, rows: list[Row]) -> _Run:
    """One run of the graph.

    Raises:
        ArithmeticError: it gave a score that is not finite.
    """
    packed = plan.pack(rows)
    labels, scores = plan.predictor.predict(packed.numbers, packed.categories)
    if not np.isfinite(scores).all():
        raise ArithmeticError("a score is not finite")
    return _Run(packed, labels, scores, split_scores(scores))
