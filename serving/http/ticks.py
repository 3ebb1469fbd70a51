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
from typing import TypeVar, TypeVarTuple

from serving.http.admission import INLINE_ROWS, Admission
from serving.http.compiled import Plan, Row, split_scores
from serving.http.long_batches import Finished, finish
from serving.http.waiting import Arrival, Run, Waiting, run
from serving.recording.answered import Numbered
from serving.recording.prediction_log import PredictionLog
from serving.recording.tally import Tally

T = TypeVar("T")
A = TypeVarTuple("A")

logger = logging.getLogger(__name__)

ENOUGH_ROWS = 32  # of a run, beyond which a row costs hardly less: benchmarks.serving.pieces
PATIENCE = 0.001  # seconds that the first row may wait for others
FAILED = "%s %s could not answer"


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
            done = self.aside(finish, plan, waiting, self._log)
            done.add_done_callback(partial(self._long_done, plan, waiting))
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
                self._answer_or_give_back(plan, present, rows)

    def _long_done(self, plan: Plan, waiting: Waiting, done: "asyncio.Future[Finished]") -> None:
        caller = waiting.caller
        if caller.disconnected:
            return
        try:
            finished = done.result()
            finished.tell(plan, time.perf_counter() - waiting.arrival.clock)
            self._log.append(finished.answered, finished.encoded)
        except Exception:
            logger.exception(FAILED, plan.contract.model, plan.predictor.version)
            caller.give_back()
        else:
            caller.answer(plan.fields, waiting.request_id.encode(), finished.body)

    def _answer_or_give_back(self, plan: Plan, members: list[Waiting], rows: list[Row]) -> None:
        """Whatever goes wrong, each request goes on alone, the slow way, where its failure is its own."""
        try:
            answers = self._answers(plan, members, run(plan, plan.pack(rows)))
        except Exception:
            logger.exception(FAILED, plan.contract.model, plan.predictor.version)
            for waiting in members:
                waiting.caller.give_back()
            return
        for waiting, (request_id, body) in zip(members, answers, strict=True):
            waiting.caller.answer(plan.fields, request_id, body)
        if plan.tally.due:
            asyncio.get_running_loop().call_soon(_settle, plan.tally)  # when the answers have left

    def _answers(self, plan: Plan, members: list[Waiting], ran: Run) -> list[tuple[bytes, bytes]]:
        """The id and the body of each answer, when all of them are counted and logged.

        Raises:
            ArithmeticError: the model gave a score that is not finite.
        """
        labels: list[int] = ran.labels.tolist()
        texts = split_scores(ran.scores)
        arrival, tally = members[0].arrival, plan.tally
        seconds = time.perf_counter() - arrival.clock
        tally.request(seconds, len(members))
        if len(labels) > INLINE_ROWS:
            tally.add({name: labels.count(label) for label, name in enumerate(plan.classes)})
        else:
            tally.rows(map(plan.classes.__getitem__, labels))
        tally.later(plan.oddities, plan.oddities.noted(ran.packed), len(labels))
        answers: list[tuple[bytes, bytes]] = []
        ids: list[str] = []  # one a row, each with its index in its id where there are several of a request
        for waiting in members:
            name, start = waiting.request_id, len(ids)
            request_id, count = name.encode(), waiting.count
            if count == 1:
                ids.append(name)
            else:
                ids += Numbered(name, count)
            if waiting.single:
                body = plan.render_one(labels[start], texts[start], request_id)
            else:
                end = start + count
                body = plan.render_many(labels[start:end], texts[start:end], request_id)
            answers.append((request_id, body))
        self._log.append(ran.answered(plan, members, ids, seconds))
        return answers


def _settle(tally: Tally) -> None:
    """A part a turn: nobody waits for all of it."""
    if tally.settle_some():
        asyncio.get_running_loop().call_soon(_settle, tally)
