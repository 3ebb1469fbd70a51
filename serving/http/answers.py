"""One request's rows through a model: predicted, counted, logged."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from starlette.concurrency import run_in_threadpool

from serving.http.admission import INLINE_ROWS
from serving.http.bodies import RefusedError
from serving.models.predictor import Predictor
from serving.recording.answered import Answered, Numbered
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
        count, model = len(rows.values), predictor.contract.model
        try:
            if count <= INLINE_ROWS:
                labels, scores = predictor.predict(rows.numbers, rows.categories)
            else:
                labels, scores = await run_in_threadpool(predictor.predict, rows.numbers, rows.categories)
        except Exception:  # counted, and raised again: onnxruntime's errors share no base class
            self._metrics.failed(model, predictor.version)
            raise
        if not np.isfinite(scores).all():
            self._metrics.failed(model, predictor.version)
            raise RefusedError(500, f"{model} answered a score that is not finite")
        times = np.bincount(labels, minlength=len(predictor.contract.classes)).tolist()
        said = dict(zip(predictor.contract.classes, times, strict=True))
        seconds = time.perf_counter() - call.began
        self._metrics.answered(model, predictor.version, seconds, rows, said)
        self._log.append(
            Answered(
                contract=predictor.contract,
                version=predictor.version,
                digest=predictor.bundle.digest,
                request_ids=[call.request_id] if count == 1 else Numbered(call.request_id, count),
                entity_ids=call.entities,
                received_at=call.received_at,
                event_times=call.moments,
                latency_ms=seconds * 1000,
                labels=labels,
                scores=scores,
                values=rows.values,
                keys=call.keys,
                filled=call.filled,
            )
        )
        return labels, scores
