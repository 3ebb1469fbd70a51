"""Requests whose rows are good, between their decoding and their answer, and what the log is told of them."""

from collections.abc import Sequence
from datetime import datetime
from itertools import chain
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from serving.http.compiled import Plan, Row
from serving.http.oddities import Packed
from serving.http.whole import Caller
from serving.recording.answered import Answered, Matrices
from serving.recording.tally import Found


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
    packed: Packed | None = None  # of a long batch, in the place of `rows`
    odd: Found | None = None  # of a long batch, what is to be counted of it


class Run(NamedTuple):
    """What one run of the graph took and gave."""

    packed: Packed
    labels: NDArray[np.int64]
    scores: NDArray[np.float32]

    def answered(self, plan: Plan, asked: Sequence[Waiting], ids: Sequence[str], seconds: float) -> Answered:
        """For the log: the rows of all who `asked`, who had their answers after `seconds`."""
        return Answered(
            contract=plan.contract,
            version=plan.predictor.version,
            digest=plan.predictor.bundle.digest,
            request_ids=ids,
            entity_ids=list(chain.from_iterable(waiting.entities for waiting in asked)),
            received_at=asked[0].arrival.at,
            event_times=list(chain.from_iterable(waiting.moments for waiting in asked)),
            latency_ms=seconds * 1000,
            labels=self.labels,
            scores=self.scores,
            values=Matrices(plan.contract, self.packed.exact, self.packed.categories),
        )


def run(plan: Plan, packed: Packed) -> Run:
    """One run of the graph."""
    return Run(packed, *plan.predictor.predict(packed.numbers, packed.categories))
