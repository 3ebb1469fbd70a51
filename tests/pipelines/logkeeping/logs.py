"""Prediction logs as the service writes them, with a number for each row."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from contract.predictions import completed
from contract.schema import Contract
from contract.segments import live_segments
from serving.recording.answered import Answered
from serving.recording.segments import publish
from serving.recording.tables import segment
from tests.conftest import toy_contract

NOW = datetime(2013, 4, 1, 12, tzinfo=UTC)
CONTRACT = toy_contract("toy")


def run(numbers: range, at: datetime = NOW, contract: Contract = CONTRACT) -> Answered:
    """What one run answered to the requests of these numbers."""
    count = len(numbers)
    return Answered(
        contract=contract,
        version="1",
        digest="d" * 64,
        request_ids=[str(number) for number in numbers],
        entity_ids=[None] * count,
        received_at=at,
        event_times=[at] * count,
        latency_ms=0.5,
        labels=np.zeros(count, dtype=np.int64),
        scores=np.full((count, len(contract.classes)), 0.5, dtype=np.float32),
        values=[(1.0, None, "A")] * count,
    )


def fill(log: Path, segments: int, rows: int = 10, at: datetime = NOW) -> int:
    """Write so many segments into the log's folder of the toy model; how many rows that makes."""
    for index in range(segments):
        parts = segment([run(range(index * rows, (index + 1) * rows), at + timedelta(seconds=index))])
        name = f"{at + timedelta(seconds=index):%Y%m%dT%H%M%S%f}-7-{index:06d}.parquet"
        publish(log / "toy", name, parts, sync=False)
    return segments * rows


def numbers(folder: Path) -> list[int]:
    """The numbers of the rows that a reader finds, in the order of the log."""
    found: list[int] = []
    for path in live_segments(folder):
        rows = completed(pl.scan_parquet(path, glob=False)).select("request_id").collect()
        found += rows["request_id"].cast(pl.Int64).to_list()
    return found
