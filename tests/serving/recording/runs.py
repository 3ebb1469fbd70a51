"""Runs of a toy model for the prediction log, and what is on the disk of it."""

import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from serving.recording.answered import Matrices
from serving.recording.log_settings import LogSettings
from serving.recording.prediction_log import Answered

NOW = datetime(2013, 4, 1, 12, tzinfo=UTC)
QUICK = LogSettings(seconds=0.05)


def answers(contract, count, start=0, **changes):
    """One run that answered `count` different rows."""
    indices = range(start, start + count)
    made = Answered(
        contract=contract,
        version="1",
        digest="d" * 64,
        request_ids=[f"r{index}" for index in indices],
        entity_ids=[None if index % 2 else f"e{index}" for index in indices],
        received_at=NOW,
        event_times=[NOW + timedelta(minutes=index) for index in indices],
        latency_ms=0.5,
        labels=np.zeros(count, dtype=np.int64),
        scores=np.tile(np.array([0.5, 0.25, 0.25], dtype=np.float32), (count, 1)),
        values=[{"width": float(index), "height": None, "letter": "A"} for index in indices],
    )
    return replace(made, **changes)


def until(condition, seconds=10):
    """Wait for `condition`, at most `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        threading.Event().wait(0.01)


def read(log):
    """All that is on disk, in the order of the rows."""
    return pl.read_parquet(log._folder / "toy" / "*.parquet").sort("event_time")


def held(contract, count, start=0, **changes):
    """The same run with its rows by column, as the hot path and tensors have them."""
    plain = answers(contract, count, start)
    numbers = [[row["width"], np.nan] for row in plain.values]
    matrices = Matrices(contract, np.array(numbers), np.array([["A"]] * count, dtype=object))
    return replace(plain, **{"values": matrices, **changes})
