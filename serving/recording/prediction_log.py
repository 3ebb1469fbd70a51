"""The prediction log's writer: Parquet segments, written by a thread, never on a request's path."""

import os
import threading
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import polars as pl

from contract.predictions import FEATURE_PREFIX, SCORE_PREFIX, log_schema, segment_name
from contract.schema import Contract
from serving.recording.answered import Answered
from serving.rows import Value

FLUSH_SECONDS = 1.0
FLUSH_ROWS = 5_000
MOST_ROWS = 50_000  # waiting to be written; beyond it rows are dropped and counted


@dataclass(frozen=True)
class Entry:
    """One answered row."""

    contract: Contract
    request_id: str
    entity_id: str | None
    version: str
    digest: str
    received_at: datetime
    event_time: datetime
    latency_ms: float
    label: str
    scores: tuple[float, ...]
    values: dict[str, Value]

    def row(self) -> dict[str, object]:
        """The row of the log table."""
        return {
            "request_id": self.request_id,
            "entity_id": self.entity_id,
            "model": self.contract.model,
            "version": self.version,
            "digest": self.digest,
            "received_at": self.received_at,
            "event_time": self.event_time,
            "latency_ms": self.latency_ms,
            "label": self.label,
            **{FEATURE_PREFIX + name: value for name, value in self.values.items()},
            **{
                SCORE_PREFIX + name: score
                for name, score in zip(self.contract.classes, self.scores, strict=True)
            },
        }


@dataclass
class Counts:
    """What became of the rows that were answered."""

    written: int = 0
    dropped: int = 0  # the queue was full
    failed: int = 0  # the disk refused
    error: str = field(default="")  # the disk's last words


class PredictionLog:
    """Appends answered rows to `folder/MODEL/`, in segments of at most a second or 5,000 rows."""

    def __init__(self, folder: Path, writer: str) -> None:
        """Prepare the log; `writer` tells the segments of several processes apart."""
        self._folder, self._writer = folder, writer
        self._waiting: list[Entry] = []
        self._changed = threading.Condition()
        self._closing = False
        self._segments = 0
        self._thread = threading.Thread(target=self._run, name="prediction-log")
        self.counts = Counts()

    def start(self) -> None:
        """Start the writing thread."""
        self._thread.start()

    def append(self, answered: list[Entry] | Answered) -> None:
        """Queue what was answered; takes microseconds and never waits for the disk."""
        entries = _entries(answered) if isinstance(answered, Answered) else answered
        with self._changed:
            room = MOST_ROWS - len(self._waiting)
            self._waiting += entries[:room]
            self.counts.dropped += max(0, len(entries) - room)
            if len(self._waiting) >= FLUSH_ROWS:
                self._changed.notify()

    def close(self) -> None:
        """Write what is waiting and stop the thread."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        if self._thread.ident is not None:
            self._thread.join()

    def summary(self) -> dict[str, int | str]:
        """Counters of the log: waiting, written, dropped and failed rows, and the last error."""
        with self._changed:
            waiting = len(self._waiting)
        counts = self.counts
        return {
            "waiting": waiting,
            "written": counts.written,
            "dropped": counts.dropped,
            "failed": counts.failed,
            "error": counts.error,
        }

    def _run(self) -> None:
        closing = False
        while not closing:
            with self._changed:
                self._changed.wait_for(
                    lambda: self._closing or len(self._waiting) >= FLUSH_ROWS, timeout=FLUSH_SECONDS
                )
                closing, entries, self._waiting = self._closing, self._waiting, []
            groups: dict[str, list[Entry]] = {}
            for entry in entries:  # one schema a segment: a model's contract may change with its version
                groups.setdefault(entry.digest, []).append(entry)
            for group in groups.values():
                self._write(group)

    def _write(self, entries: list[Entry]) -> None:
        contract = entries[0].contract
        folder = self._folder / contract.model
        self._segments += 1
        path = folder / segment_name(entries[0].received_at, self._writer, self._segments)
        temporary = path.with_name(f".{path.name}.tmp")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            table = pl.DataFrame([entry.row() for entry in entries], schema=log_schema(contract))
            table.write_parquet(temporary)
            _sync(temporary)
            temporary.replace(path)
        except (OSError, pl.exceptions.PolarsError) as error:
            self.counts.failed += len(entries)
            self.counts.error = " ".join(str(error).split())[:200]
        else:
            self.counts.written += len(entries)
        finally:
            if temporary.exists():
                temporary.unlink(missing_ok=True)


def _entries(answered: Answered) -> list[Entry]:
    names, classes = [feature.name for feature in answered.contract.features], answered.contract.classes
    return [
        Entry(
            contract=answered.contract,
            request_id=answered.request_ids[row],
            entity_id=answered.entity_ids[row],
            version=answered.version,
            digest=answered.digest,
            received_at=answered.received_at[row],
            event_time=answered.event_times[row],
            latency_ms=answered.latency_ms[row],
            label=classes[label],
            scores=tuple(scores),
            values=dict(zip(names, values, strict=True)) if isinstance(values, tuple) else dict(values),
        )
        for row, (label, scores, values) in enumerate(
            zip(answered.labels.tolist(), answered.scores.tolist(), answered.values, strict=True)
        )
    ]


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
