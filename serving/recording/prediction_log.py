"""The prediction log's writer: Parquet segments, written by a thread, never on a request's path."""

import asyncio
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from contract.log_layout import segment_name
from serving.recording.answered import Answered, Matrices, Sizes
from serving.recording.columns import Part
from serving.recording.encoded import Encoded, join
from serving.recording.encoder import Encoder
from serving.recording.gathered import Gathered
from serving.recording.log_settings import LogSettings
from serving.recording.segments import publish, recover, sync_path
from serving.recording.slices import Slices, at_once
from serving.recording.tables import steps

__all__ = ["Answered", "PredictionLog"]

Queued: TypeAlias = Answered | Gathered | Encoded

logger = logging.getLogger(__name__)

HASTE = 4  # times the usual slice where a whole segment waits beyond the one that is made
CALM = 1 / 4  # of a segment: where less than that waits, the disk may take its time


@dataclass
class Counts:
    """What became of the rows that were answered, and what the disk did."""

    written: int = 0
    dropped: int = 0  # rows: the queue was full
    failed: int = 0  # rows: they cannot be written, or the disk refused until the end
    refused_writes: int = 0  # times that the disk refused; the rows are kept and tried again
    torn: int = 0  # segments that a crash had left broken, found when the log started
    error: str = field(default="")  # what the disk says now; empty when it takes what it is given


class PredictionLog:
    """Appends answered rows to `folder/MODEL/`, in segments of at most a second or 5,000 rows."""

    def __init__(self, folder: Path, writer: str, settings: LogSettings | None = None) -> None:
        """Prepare the log; `writer` tells the segments of several processes apart."""
        self._folder, self._writer, self._settings = folder, writer, settings or LogSettings()
        self._sizes = Sizes()
        self._queue: deque[tuple[Queued, int]] = deque()  # with its bytes
        self._queued = 0  # rows in the queue
        self._held_rows = self._held_bytes = 0  # in the queue or with the thread, not yet written
        self._changed = threading.Condition()
        self._closing = False
        self._segments = 0
        self._backlog: list[tuple[Queued, int]] = []  # the thread's alone, oldest first
        self._unsynced: list[Path] = []
        self._synced_at = time.monotonic()
        self._slices: Slices | None = None
        self._thread = threading.Thread(target=self._run, name="prediction-log")
        self.counts, self.encoder = Counts(), Encoder()

    def start(self) -> None:
        """Start the writing thread."""
        self._thread.start()

    def share(self, loop: asyncio.AbstractEventLoop, busy: Callable[[], bool] = lambda: False) -> None:
        """From now on make segments in slices of `loop`'s time, preferably while it is not `busy`.

        The thread is left with what the disk does.
        """
        self._slices = Slices(loop, busy)

    def append(self, answered: Answered, encoded: Encoded | None = None) -> None:
        """Queue what was answered, without waiting for the disk; without room it is dropped and counted.

        What `encoder` made of it already is queued in its place.
        """
        rows, size = len(answered), self._sizes.of(answered) if encoded is None else encoded.size
        if not rows:
            return
        settings = self._settings
        with self._changed:
            if (
                self._held_rows + rows > settings.most_rows
                or self._held_bytes + size > settings.most_bytes
                or self._closing
            ):
                self.counts.dropped += rows
                return
            if encoded is None:
                self._take(answered, rows, size)
            else:
                self._queue.append((encoded, size))
            self._held_rows += rows
            self._held_bytes += size
            self._queued += rows
            if self._queued >= settings.rows:
                self._changed.notify()

    def _take(self, answered: Answered, rows: int, size: int) -> None:
        """Queue it, or add it to the last that is queued, where they are columns of the same."""
        values = answered.values
        if not isinstance(values, Matrices) or not Gathered.may_hold(answered):
            self._queue.append((answered, size))
            return
        last, before = self._queue[-1] if self._queue else (None, 0)
        if (
            not isinstance(last, Gathered)
            or not last.like(answered)
            or len(last) + rows > self._settings.rows
        ):
            last, before = Gathered(answered), 0
            self._queue.append((last, 0))
        last.add(answered, values)
        self._queue[-1] = last, before + size

    def close(self) -> None:
        """Write what is waiting and stop the thread."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        if self._thread.ident is not None:
            self._thread.join()

    def summary(self) -> dict[str, int | str]:
        """Rows by what became of them, writes refused, segments found torn, and what the disk says."""
        with self._changed:
            waiting = self._held_rows
        counts = self.counts
        return {
            "waiting": waiting,
            "written": counts.written,
            "dropped": counts.dropped,
            "failed": counts.failed,
            "refused_writes": counts.refused_writes,
            "torn": counts.torn,
            "error": counts.error,
        }

    def _run(self) -> None:
        _give_way()
        self._recover()
        closing = False
        while not closing:
            with self._changed:
                self._changed.wait_for(
                    # Rows that the disk refused are tried again when the time has passed, not at every call.
                    lambda: self._closing or (not self._backlog and self._queued >= self._settings.rows),
                    timeout=self._settings.seconds,
                )
                closing, self._queued = self._closing, 0
                self._backlog += self._queue
                self._queue.clear()
            self._drain()
            self._sync(now=closing)
        if self._backlog:
            rows = _rows(self._backlog)
            self._lost(self._backlog)
            logger.error("%d predictions are lost: the service ends and their log cannot be written", rows)

    def _recover(self) -> None:
        try:
            self.counts.torn = recover(self._folder)
        except OSError as error:
            logger.warning(
                "the prediction log in %s cannot be searched for torn segments: %s", self._folder, error
            )

    def _drain(self) -> None:
        """Write the backlog, segment by segment; what the disk refuses stays for the next time."""
        groups: dict[tuple[str, int], list[tuple[Queued, int]]] = {}
        for item in self._backlog:
            # One schema a segment: a model's contract may change with its version. Its pages share words.
            words = id(item[0].dictionaries) if isinstance(item[0], Encoded) else 0
            groups.setdefault((item[0].digest, words), []).append(item)
        self._backlog = []
        refused, times = "", 0
        for group in groups.values():
            while group and (part := self._first(group)):
                try:
                    self._write([item for item, _ in part])
                except OSError as error:  # full, read-only, gone: it may take the rows later
                    times += 1
                    refused = refused or _line(error)
                    self._backlog += group
                    break
                except Exception:  # whatever one answer holds, the log goes on with the next
                    logger.exception("%d predictions cannot be logged", _rows(part))
                    self._lost(part)
                else:
                    self.counts.written += _rows(part)
                    self._release(part)
                del group[: len(part)]
        self._tell(refused)
        self.counts.refused_writes += times  # after what they were: whoever sees the one sees the other

    def _first(self, group: list[tuple[Queued, int]]) -> list[tuple[Queued, int]]:
        """The beginning of `group` that makes one segment, one item at the least."""
        rows = 0
        for count, (item, _) in enumerate(group):
            rows += len(item)
            if rows > self._settings.rows and count:
                return group[:count]
        return group[:]

    def _write(self, answers: list[Queued]) -> None:
        self._segments += 1
        folder = self._folder / answers[0].contract.model
        name = segment_name(answers[0].received_at, self._writer, self._segments)
        sync, made = self._settings.sync == "always", self._made(answers)
        # Whoever sends long runs keeps the core for longer than their segments do.
        rest = not isinstance(answers[0], Encoded) and self._beyond() < CALM * self._settings.rows
        path = publish(folder, name, made, sync=sync, rest=rest)
        if self._settings.sync == "interval":
            self._unsynced.append(path)

    def _made(self, answers: list[Queued]) -> list[Part]:
        """The segment."""
        encoded = [item for item in answers if isinstance(item, Encoded)]
        others = [item for item in answers if not isinstance(item, Encoded)]
        work = join(encoded) if encoded else steps(others)  # as `_drain` groups them, there is one kind
        return at_once(work) if self._slices is None else self._slices.run(work, self._haste)

    def _haste(self) -> int:
        """How much more than usual is done at a time: the more rows wait for the next segment, the more."""
        return max(1, self._beyond() * HASTE // self._settings.rows)

    def _beyond(self) -> int:
        """Rows that wait while a whole segment is made."""
        return self._held_rows - self._settings.rows

    def _sync(self, *, now: bool) -> None:
        """Where the policy is `interval`, have on the disk what was written since, when it is time."""
        due = time.monotonic() - self._synced_at >= self._settings.sync_seconds
        if not self._unsynced or not (due or now):
            return
        try:
            for path in [*self._unsynced, *sorted({path.parent for path in self._unsynced})]:
                sync_path(path)
        except OSError as error:
            self._tell(_line(error))
            self.counts.refused_writes += 1
        else:
            self._unsynced, self._synced_at = [], time.monotonic()

    def _release(self, part: list[tuple[Queued, int]]) -> None:
        with self._changed:
            self._held_rows -= _rows(part)
            self._held_bytes -= sum(size for _, size in part)

    def _lost(self, part: list[tuple[Queued, int]]) -> None:
        self.counts.failed += _rows(part)
        self._release(part)

    def _tell(self, refused: str) -> None:
        """Note what the disk says, and log it when that changes."""
        if refused and not self.counts.error:
            logger.error(
                "the prediction log cannot be written (%s); rows wait in memory, then are dropped", refused
            )
        if self.counts.error and not refused:
            logger.warning("the prediction log is written again; %d rows were dropped", self.counts.dropped)
        self.counts.error = refused


def _give_way() -> None:
    """Have this thread interrupt no other when it wakes up, where the system knows such a thing."""
    if hasattr(os, "sched_setscheduler"):
        with suppress(OSError):
            os.sched_setscheduler(threading.get_native_id(), os.SCHED_BATCH, os.sched_param(0))


def _rows(part: list[tuple[Queued, int]]) -> int:
    return sum(len(item) for item, _ in part)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
