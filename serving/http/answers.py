"""One request's rows through a model: predicted, counted, logged."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from starlette.concurrency import run_in_threadpool

from serving.http.admission import INLINE_ROWS
from serving.http.bodies import RefusedError
from serving.models.predictor import Predictor
from serving.recording.answered import Answered, Numbered
from serving.recording.encoded import Encoded
from serving.recording.metrics import Metrics
from serving.recording.prediction_log import PredictionLog
from serving.rows import Rows


@dataclass(frozen=True)
class Call:
    """What is known about a request besides its rows."""

    request_id: str
    began: float  # time.perf_counter() at its arrival
    received_at: datetime
    entities: list[str | None]  # one a row
    moments: list[datetime]  # one a row
    keys: Sequence[Mapping[str, Any] | None] | None = None  # sent beside each row; None: beside none
    filled: Sequence[Sequence[str]] | None = None  # by row, the features from the online store


class Answerer:
    """Predicts; counts in `metrics` and appends to `log` what it answered."""

    def __init__(self, log: PredictionLog, metrics: Metrics) -> None:
        """Keep where answers are written down."""
        self._log, self._metrics = log, metrics

    async def answer(
        self, predictor: Predictor, rows: Rows, call: Call
    ) -> tuple[list[str], list[list[float]]]:
        """Classes (rows,) and scores (rows, classes).

        Raises:
            RefusedError: 500, the model answered a score that is not finite.
        """
        labels, scores = await self.run(predictor, rows, call)
        return [predictor.contract.classes[label] for label in labels.tolist()], scores.tolist()

    async def run(
        self, predictor: Predictor, rows: Rows, call: Call
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Labels (rows,) and scores (rows, classes). Row `i` of a batch is logged as request `ID/i`.

        Raises:
            RefusedError: 500, the model answered a score that is not finite.
        """
        work = partial(self._run, predictor, rows, call)
        try:
            ran = work() if len(rows.values) <= INLINE_ROWS else await run_in_threadpool(work)
        except Exception:  # counted, and raised again: onnxruntime's errors share no base class
            self._metrics.failed(predictor.contract.model, predictor.version)
            raise
        classes, answered = predictor.contract.classes, ran.answered
        times = np.bincount(answered.labels, minlength=len(classes)).tolist()
        said = dict(zip(classes, times, strict=True))
        seconds = time.perf_counter() - call.began
        self._metrics.answered(predictor.contract.model, predictor.version, seconds, rows, said)
        self._log.append(answered, ran.encoded)
        return answered.labels, answered.scores

    def _run(self, predictor: Predictor, rows: Rows, call: Call) -> "_Ran":
        """What is done beside the event loop where there are many rows."""
        labels, scores = predictor.predict(rows.numbers, rows.categories)
        if not np.isfinite(scores).all():
            raise RefusedError(500, f"{predictor.contract.model} answered a score that is not finite")
        count = len(rows.values)
        answered = Answered(
            contract=predictor.contract,
            version=predictor.version,
            digest=predictor.bundle.digest,
            request_ids=[call.request_id] if count == 1 else Numbered(call.request_id, count),
            entity_ids=call.entities,
            received_at=call.received_at,
            event_times=call.moments,
            latency_ms=(time.perf_counter() - call.began) * 1000,
            labels=labels,
            scores=scores,
            values=rows.values,
            keys=call.keys,
            filled=call.filled,
        )
        return _Ran(answered, self._log.encoder.encoded(answered))


class _Ran(NamedTuple):
    answered: Answered
    encoded: Encoded | None  # for the log
