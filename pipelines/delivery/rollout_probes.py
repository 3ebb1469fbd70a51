"""Requests of the deployer's own, so that a rollout sees something where nobody calls: rows, replayed."""

import itertools
import time
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import polars as pl

from contract.bundle import Bundle
from contract.errors import FlightlineError
from contract.predictions import FEATURE_PREFIX, SHADOW, completed
from contract.segments import live_segments
from pipelines.delivery.rollout_decision import Kind
from pipelines.delivery.rollout_metrics import CUT
from pipelines.machine.settings import Settings
from pipelines.staging.checks import ENTITY
from serving.models.traffic import draw

ROWS = 500  # different ones at most; more would take longer to read than they are worth
SEGMENTS = 20  # of the log, the newest: each is a part of a second, or of a batch
ROUND_S = 0.25  # between two looks at what was counted
TIMEOUT_S = 10.0
ANSWERED, SERVERS_FAULT = 200, 500


class Prober:
    """Sends rows as a caller who names no version, one after another over one connection.

    Which request belongs to the shadow or to the canary is decided by its id alone, so the prober draws ids
    until it has one that does: it goes the way that a caller with this id would go, and no other request is
    needed to have one there.
    """

    def __init__(self, client: httpx.Client, model: str, rows: list[dict[str, Any]], most: int) -> None:
        """Send at most `most` requests of `rows` a step."""
        self._client, self._model, self._rows, self._most = client, model, rows, most
        self._next = itertools.count()
        self.left, self.own = most, 0
        self.lost = 0

    def begin(self) -> None:
        """Begin a step: `own` counts from zero what came where it was meant to, `lost` what nobody answered.

        What is lost with the worker that had it no service counts: it is held against the version that it was
        meant for.
        """
        self.left, self.own, self.lost = self._most, 0, 0

    @property
    def able(self) -> bool:
        """Whether there is anything left to send."""
        return self.left > 0 and bool(self._rows)

    def round(self, kind: Kind, version: str, mirrored: float, percent: float) -> None:
        """Send for ROUND_S: to a shadow what it is asked again, to a canary in turn its part and what is not.

        `mirrored` and `percent` are the shares of both in force, in percent.

        Raises:
            FlightlineError: the service does not answer.
        """
        ends = time.monotonic() + ROUND_S
        while self.able and time.monotonic() < ends:
            number = next(self._next)
            place = (number // 2 if kind == "canary" else number) % len(self._rows)
            part = kind == "canary" and number % 2 == 0
            split, mirror = f"split/{self._model}", f"mirror/{self._model}/{version}"
            request_id = next(
                name
                for name in _ids()
                if (draw(split, name) < percent) == part and (part or draw(mirror, name) < mirrored)
            )
            mine = kind == "shadow" or part
            answer = self._ask(self._rows[place], request_id, mine=mine)
            self.left -= 1
            if ANSWERED < answer.status_code < SERVERS_FAULT:
                del self._rows[place]  # no row to ask with: the contract refuses it
            elif kind == "shadow":
                self.own += answer.status_code == ANSWERED
            elif part:
                self.own += answer.status_code >= SERVERS_FAULT or answer.json()["version"] == version

    def _ask(self, row: dict[str, Any], request_id: str, *, mine: bool) -> httpx.Response:
        """One request; once more where its connection is cut, which one of several workers may have done."""
        words: dict[str, Any] = {
            "params": {"model": self._model},
            "json": {"row": row, "id": ENTITY},
            "headers": {"X-Request-Id": request_id},
        }
        try:
            try:
                return self._client.post("/predict", **words)
            except CUT:
                self.lost += mine
                return self._client.post("/predict", **words)
        except httpx.TransportError as error:
            raise FlightlineError(
                f"a request was not answered ({type(error).__name__}: {error})", "an answer", "Read its log"
            ) from None


def probe_rows(champion: Bundle, settings: Settings, environment: str) -> list[dict[str, Any]]:
    """Rows of the champion's contract: the newest that callers sent, then training's, then golden ones."""
    recorded = _recorded(champion, settings, environment)
    reference = pl.read_parquet(champion.path / "reference.parquet")
    sample = reference.sample(min(ROWS - len(recorded), reference.height), shuffle=True, seed=0)
    return [*recorded, *_rows(sample, champion), *(dict(item.row) for item in champion.golden.rows[:ROWS])]


def _recorded(champion: Bundle, settings: Settings, environment: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for path in reversed(live_segments(settings.predictions(environment) / champion.model)[-SEGMENTS:]):
        asked = pl.col("entity_id").is_null() | (pl.col("entity_id") != ENTITY)
        answers = pl.col("role").ne_missing(SHADOW) & (pl.col("digest") == champion.digest)
        part = completed(pl.scan_parquet(path, glob=False)).filter(asked & answers).tail(ROWS).collect()
        found += _rows(part, champion)
        if len(found) >= ROWS:
            break
    return found[:ROWS]


def _rows(table: pl.DataFrame, champion: Bundle) -> list[dict[str, Any]]:
    """Rows as a request holds them; none of a table that has other columns."""
    names = [feature.name for feature in champion.contract.features]
    columns = [FEATURE_PREFIX + name for name in names]
    if not set(columns) <= set(table.columns):
        return []
    numbers = [FEATURE_PREFIX + feature.name for feature in champion.contract.numbers]
    plain = table.select(columns).with_columns(pl.col(numbers).cast(pl.Float64).fill_nan(None))
    return [dict(zip(names, values, strict=True)) for values in plain.iter_rows()]


def _ids() -> Iterator[str]:
    while True:
        yield f"probe-{uuid.uuid4().hex}"
