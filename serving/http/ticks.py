"""Rows that arrive together, for one version of a model, answered by one run.

Together are those of one turn of the event loop, and of the turns after it for as long as each brings more.
What has arrived meanwhile would have waited for the run; and a row costs less the more of them a run has.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from itertools import chain
from typing import NamedTuple, TypeVar, TypeVarTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from serving.http.admission import INLINE_ROWS, Admission
from serving.http.compiled import Plan, Row, split_scores
from serving.http.oddities import Packed
from serving.http.whole import Caller
from serving.recording.answered import Answered, Matrices, Numbered
from serving.recording.prediction_log import PredictionLog
from serving.recording.tally import Tally

T = TypeVar("T")
A = TypeVarTuple("A")

logger = logging.getLogger(__name__)

ENOUGH_ROWS = 32  # of a run, beyond which a row costs hardly less: benchmarks.serving.pieces
PATIENCE = 0.001  # seconds that the first row may wait for others


class Arrival(NamedTuple):
    """When the first body of a run had arrived: read once, for all of them."""

    at: datetime
    clock: float  # time.perf_counter()


class Waiting(msgspec.Struct):
    """A request whose rows are good, until its caller has the answer."""

    arrival: Arrival
    rows: list[Row]
    count: int  # of them, also where they are packed already
    single: bool  # asked at /predict
    request_id: str
    entities: list[str | None]  # one a row, as are the moments
    moments: list[datetime]
    caller: Caller
    admitted: bool = False  # and to be let go of when the caller has its answer
    packed: Packed | None = None  # in the place of `rows`


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
        self._rows = self._seen = 0  # that wait now, and did a turn ago
        self._arrival: Arrival | None = None  # of those that wait
        # One thread: a worker has about one core, on which several long runs would only take turns.
        self._long = ThreadPoolExecutor(1, "long-batches")

    def arrival(self) -> Arrival:
        """That of the next run, which is due from now on."""
        if self._arrival is None:
            self._arrival = Arrival(datetime.now(UTC), time.perf_counter())
            asyncio.get_running_loop().call_soon(self._tick)
        return self._arrival

    def add(self, plan: Plan, waiting: Waiting) -> None:
        """Answer `waiting`, which has the next run's arrival, with all others of it, or beside them."""
        if waiting.count > INLINE_ROWS:
            run = self.aside(_run, plan, waiting.rows, waiting.packed)
            run.add_done_callback(lambda done: self._long_done(plan, waiting, done))
            return
        self._waiting.setdefault(plan, []).append(waiting)
        self._rows += waiting.count

    def aside(self, work: "Callable[[*A], T]", *arguments: *A) -> "asyncio.Future[T]":
        """Have `work` done by the thread of long batches, beside the event loop."""
        return asyncio.get_running_loop().run_in_executor(self._long, work, *arguments)

    def close(self) -> None:
        """Wait for the runs that were begun."""
        self._long.shutdown()

    def _tick(self) -> None:
        arrival = self._arrival
        more = self._seen < self._rows < ENOUGH_ROWS
        if more and arrival is not None and time.perf_counter() - arrival.clock < PATIENCE:
            self._seen = self._rows
            asyncio.get_running_loop().call_soon(self._tick)
            return
        self._rows = self._seen = 0
        gathered, self._waiting, self._arrival = self._waiting, {}, None
        for plan, members in gathered.items():
            self._admission.requests -= sum(waiting.admitted for waiting in members)
            # Callers who went away meanwhile are not answered, and nobody else hears of it.
            present = [waiting for waiting in members if not waiting.caller.disconnected]
            rows = [row for waiting in present for row in waiting.rows]
            if rows:
                self._answer_or_give_back(plan, present, partial(_run, plan, rows))

    def _long_done(self, plan: Plan, waiting: Waiting, done: "asyncio.Future[_Run]") -> None:
        if not waiting.caller.disconnected:
            self._answer_or_give_back(plan, [waiting], done.result)

    def _answer_or_give_back(self, plan: Plan, members: list[Waiting], run: Callable[[], _Run]) -> None:
        """Whatever goes wrong, each request goes on alone, the slow way, where its failure is its own."""
        try:
            answers = self._answers(plan, members, run())
        except Exception:
            logger.exception("%s %s could not answer", plan.contract.model, plan.predictor.version)
            for waiting in members:
                waiting.caller.give_back()
            return
        for waiting, (request_id, body) in zip(members, answers, strict=True):
            waiting.caller.answer(plan.fields, request_id, body)
        if plan.tally.due:
            asyncio.get_running_loop().call_soon(_settle, plan.tally)  # when the answers have left

    def _answers(self, plan: Plan, members: list[Waiting], run: _Run) -> list[tuple[bytes, bytes]]:
        """The id and the body of each answer, when all of them are counted and logged."""
        labels: list[int] = run.labels.tolist()
        arrival, tally = members[0].arrival, plan.tally
        seconds = time.perf_counter() - arrival.clock
        tally.request(seconds, len(members))
        if len(labels) > INLINE_ROWS:
            tally.add({name: labels.count(label) for label, name in enumerate(plan.classes)})
        else:
            tally.rows(map(plan.classes.__getitem__, labels))
        tally.later(plan.oddities, plan.oddities.noted(run.packed), len(labels))
        answers: list[tuple[bytes, bytes]] = []
        ids: list[str] = []  # one a row, each with its index in its id where there are several of a request
        many: Numbered | None = None  # or these, of one long request
        for waiting in members:
            name, start = waiting.request_id, len(ids)
            request_id, count = name.encode(), waiting.count
            if count == 1:
                ids.append(name)
            elif len(members) == 1:
                many = Numbered(name, count)
            else:
                ids += Numbered(name, count)
            if waiting.single:
                body = plan.render_one(labels[start], run.texts[start], request_id)
            else:
                end = start + count
                body = plan.render_many(labels[start:end], run.texts[start:end], request_id)
            answers.append((request_id, body))
        bundle = plan.predictor.bundle
        self._log.append(
            Answered(
                contract=plan.contract,
                version=plan.predictor.version,
                digest=bundle.digest,
                request_ids=many or ids,
                entity_ids=list(chain.from_iterable(waiting.entities for waiting in members)),
                received_at=arrival.at,
                event_times=list(chain.from_iterable(waiting.moments for waiting in members)),
                latency_ms=seconds * 1000,
                labels=run.labels,
                scores=run.scores,
                values=Matrices(plan.contract, run.packed.exact, run.packed.categories),
            )
        )
        return answers


def _settle(tally: Tally) -> None:
    """A part a turn: nobody waits for all of it."""
    if tally.settle_some():
        asyncio.get_running_loop().call_soon(_settle, tally)


def _run(plan: Plan, rows: list[Row], packed: Packed | None = None) -> _Run:
    """One run of the graph over `rows`, or over what was made of them already.

    Raises:
        ArithmeticError: it gave a score that is not finite.
    """
    if packed is None:
        packed = plan.pack(rows)
    labels, scores = plan.predictor.predict(packed.numbers, packed.categories)
    return _Run(packed, labels, scores, split_scores(scores))
