"""G10's measurement: a graph and the reference graph in onnxruntime, in turns."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl

from contract.bundle import Bundle
from contract.graphs import onnxruntime
from training.export import feed_of
from training.gates.speed import BATCH_ROWS, Ratios, reference_graph, reference_rows

WARM_UP, ROUNDS = 3, 15
ONE_ROW_CALLS, BATCH_CALLS = 20, 1  # of one round


def time_graph(bundle: Bundle, rows: pl.DataFrame) -> Ratios:
    """Ratios of the bundle's graph, on its held-out `rows`, to the reference graph.

    A round runs one and then the other; each ratio is the median over the rounds, so that neither a drifting
    clock rate nor a busy neighbour changes it much. What counts is processor time, of one thread.
    """
    ours = _session(bundle.read("model.onnx"))
    theirs = _session(reference_graph())
    sample = rows.sample(BATCH_ROWS, with_replacement=rows.height < BATCH_ROWS, seed=10)
    batch, reference = feed_of(bundle.contract, sample), {"numbers": reference_rows(BATCH_ROWS)}
    return Ratios(
        one_row=_ratio(_one_by_one(ours, batch), _one_by_one(theirs, reference), ONE_ROW_CALLS),
        batch=_ratio(lambda: ours.run(None, batch), lambda: theirs.run(None, reference), BATCH_CALLS),
    )


def _session(graph: bytes) -> Any:
    ort = onnxruntime()
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    return ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def _one_by_one(session: Any, batch: dict[str, np.ndarray]) -> Callable[[], object]:
    """A call that answers one row, another one each time."""
    singles = [{name: values[row : row + 1] for name, values in batch.items()} for row in range(BATCH_ROWS)]
    number = 0

    def call() -> object:
        nonlocal number
        number = (number + 1) % BATCH_ROWS
        return session.run(None, singles[number])

    return call


def _ratio(ours: Callable[[], object], theirs: Callable[[], object], calls: int) -> float:
    for _ in range(WARM_UP):
        _seconds(ours, calls)
        _seconds(theirs, calls)
    return float(np.median([_seconds(ours, calls) / _seconds(theirs, calls) for _ in range(ROUNDS)]))


def _seconds(call: Callable[[], object], calls: int) -> float:
    began = time.process_time()
    for _ in range(calls):
        call()
    return time.process_time() - began
