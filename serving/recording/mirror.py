"""The mirror: what was answered, asked again of versions whose answers nobody gets, off the request path."""

import logging
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from serving.features.completion import Completer
from serving.models.snapshot import Served, Snapshot
from serving.recording.answered import Answered
from serving.recording.encoded import Encoded
from serving.recording.log_settings import LogSettings
from serving.recording.prediction_log import PredictionLog
from serving.recording.shadow_rows import ShadowRows, UnreadError
from serving.recording.tally import BUCKETS
from serving.rows import RowsRefusedError, decode_rows

logger = logging.getLogger(__name__)

MOST_ROWS = 20_000  # waiting; beyond it rows are dropped and counted, for callers come first
LAST_SECONDS = 2.0  # for what waits at the end: the log of what callers got must be written before a kill
MOST_AT_ONCE = 256  # rows of one run: it shares a core with the event loop, which a long run would hold up


@dataclass(frozen=True)
class _Copy:
    """Rows of one answer, for one shadow."""

    served: Served
    answered: Answered
    rows: tuple[int, ...]


class MirroringLog(PredictionLog):
    """The prediction log, which also has shadows answer what passes through it.

    Everything that is answered, whichever way it came in, comes to the log; so no path of a request knows of
    shadows. A row is mirrored if a version answered it that callers may come to without naming one; by the
    draw of its request id. Shadows answer in a thread, and are logged in their role.
    """

    def __init__(
        self,
        folder: Path,
        writer: str,
        settings: LogSettings | None = None,
        current: Callable[[], Snapshot] = Snapshot,
        open_completer: Callable[[], Completer] | None = None,
    ) -> None:
        """As of the log; `current` gives the snapshot of the moment, `open_completer` what completes rows."""
        from prometheus_client import CollectorRegistry, Counter, Histogram

        super().__init__(folder, writer, settings)
        self._current = current
        self._shadow_rows = ShadowRows(open_completer)
        self._copies: queue.SimpleQueue[_Copy | None] = queue.SimpleQueue()
        self._room, self._room_lock = MOST_ROWS, threading.Lock()
        self._shadows = threading.Thread(target=self._answer_all, name="shadows")
        self._until = float("inf")  # time.monotonic() after which no shadow is asked any more
        self.registry = CollectorRegistry()
        self._counter = Counter(
            "flightline_shadow_rows",
            "Mirrored rows: agreed or differed with the caller's answer, failed, or dropped for room or time",
            ("model", "version", "outcome"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "flightline_shadow_seconds",
            "One run of a shadow's graph, over the mirrored rows that came together",
            ("model", "version"),
            buckets=BUCKETS,
            registry=self.registry,
        )

    def append(self, answered: Answered, encoded: Encoded | None = None) -> None:
        """Log what was answered, and put copies of it where shadows find them. Waits for nobody."""
        super().append(answered, encoded)
        snapshot = self._current()
        model = snapshot.loaded.get(answered.contract.model)
        if model is not None and model.mirror and model.routes_to(answered.version):
            self._copy(snapshot, answered)

    def close(self) -> None:
        """Let shadows answer what waits, for a moment, and close the log."""
        if self._shadows.ident is not None:
            self._until = time.monotonic() + LAST_SECONDS
            self._copies.put(None)
            self._shadows.join()
            self._shadow_rows.close()
        super().close()

    def _copy(self, snapshot: Snapshot, answered: Answered) -> None:
        chosen: dict[str, tuple[Served, list[int]]] = {}
        for row, request_id in enumerate(answered.request_ids):
            for served in snapshot.mirrors(answered.contract.model, request_id):
                if served.version == answered.version:
                    continue  # a canary is no shadow of itself
                chosen.setdefault(served.version, (served, []))[1].append(row)
        for served, rows in chosen.values():
            with self._room_lock:
                fits = len(rows) <= self._room
                self._room -= len(rows) if fits else 0
            if not fits:
                self._count(served, "dropped", len(rows))
                continue
            if self._shadows.ident is None:  # a thread only where there ever is a shadow
                self._shadows.start()
            self._copies.put(_Copy(served, answered, tuple(rows)))

    def _answer_all(self) -> None:
        while True:
            copy = self._copies.get()
            if copy is None:
                return
            for start in range(0, len(copy.rows), MOST_AT_ONCE):
                part = copy.rows[start : start + MOST_AT_ONCE]
                if time.monotonic() < self._until:
                    self._try(copy, part)
                else:
                    self._count(copy.served, "dropped", len(part))
                with self._room_lock:
                    self._room += len(part)
            del copy  # else an unloaded shadow stays in memory until the next copy comes

    def _try(self, copy: _Copy, rows: tuple[int, ...]) -> None:
        """A shadow may fail in any way: that is what it is for. The thread lives on."""
        try:
            self._answer(copy.served, copy.answered, rows)
        except RowsRefusedError:
            if len(rows) == 1:
                self._count(copy.served, "failed", 1)
            else:  # the others may be good
                for row in rows:
                    self._try(copy, (row,))
        except UnreadError:  # told where it is raised
            self._count(copy.served, "failed", len(rows))
        except Exception:
            logger.exception("shadow %s failed", copy.served.version)
            self._count(copy.served, "failed", len(rows))

    def _answer(self, served: Served, answered: Answered, rows: tuple[int, ...]) -> None:
        """One run for some rows, logged and compared.

        Raises:
            RowsRefusedError: the shadow's contract does not accept them.
            UnreadError: what they lack cannot be looked up.
            ArithmeticError: it gave a score that is not finite.
        """
        began = time.perf_counter()
        predictor = served.predictor
        contract = predictor.contract
        asked = self._shadow_rows.of(answered, rows, contract)
        checked = decode_rows(contract, asked.rows)
        ran = time.perf_counter()
        labels, scores = predictor.predict(checked.numbers, checked.categories)
        self._seconds.labels(contract.model, served.version).observe(time.perf_counter() - ran)
        if not np.isfinite(scores).all():
            raise ArithmeticError("a score is not finite")
        each_ms = (time.perf_counter() - began) * 1000
        super().append(
            Answered(
                contract=contract,
                version=served.version,
                digest=predictor.bundle.digest,
                request_ids=[answered.request_ids[row] for row in rows],
                entity_ids=[answered.entity_ids[row] for row in rows],
                received_at=answered.received_at,
                event_times=[answered.event_times[row] for row in rows],
                latency_ms=each_ms,
                labels=labels,
                scores=scores,
                values=checked.values,
                role="shadow",
                keys=asked.keys,
                filled=asked.filled,
            )
        )
        said = [answered.contract.classes[answered.labels[row]] for row in rows]
        same = sum(one == contract.classes[label] for one, label in zip(said, labels.tolist(), strict=True))
        self._count(served, "agreed", same)
        self._count(served, "differed", len(rows) - same)

    def _count(self, served: Served, outcome: str, rows: int) -> None:
        self._counter.labels(served.predictor.contract.model, served.version, outcome).inc(rows)
