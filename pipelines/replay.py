"""replay: past examples sent to a service as the requests they would have been; their labels arrive later."""

import argparse
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache

import httpx
import polars as pl

from contract.errors import FlightlineError
from contract.schema import Contract
from contract.strict import decode_json, encode_json
from pipelines.building.artifacts import write_table
from pipelines.building.config import IngestParams, params
from pipelines.building.sources import read_sources
from pipelines.cli import OK, command, quiet
from pipelines.ledger import parse_moment
from pipelines.machine.processes import Say
from pipelines.machine.settings import Settings
from training import model as models
from training.features import examples
from training.model import AT, ID, LABEL, LABEL_AT, Model
from training.validation import check_all

BATCH = 500  # rows a request
TIMEOUT_S = 30.0
LABELS_WITHIN = timedelta(days=3)  # how long after its prediction the last label may come


@dataclass(frozen=True)
class Replayed:
    """What was sent, and how many labels have been or will be delivered."""

    model: str
    requests: int
    rows: int
    labels: int


def replay(
    model: str, start: datetime, end: datetime, settings: Settings, *, environment: str, say: Say = print
) -> Replayed:
    """Send every example with a moment in [start, end) in its order, and file the labels by month of arrival.

    Raises:
        FlightlineError: there is nothing in that period, or the service does not answer or refuses.
    """
    contract = models.load(model).contract
    rows = moments(model, start, end)
    if rows.is_empty():
        raise FlightlineError(
            f"{model} has no example between {start:%Y-%m-%d} and {end:%Y-%m-%d}",
            "a period that the data covers",
            "Choose another one with --from and --until",
        )
    requests = 0
    with httpx.Client(
        base_url=settings.service_url(environment), timeout=TIMEOUT_S, trust_env=False
    ) as client:
        before = _logged(client)
        for body in bodies(rows, contract):
            _send(client, model, body)
            requests += 1
            if requests % 20 == 0:
                say(f"{model}: {requests * BATCH:,} of {rows.height:,} predictions")
        _await_log(client, before, rows.height)
    labels = file_labels(model, rows, contract, settings)
    say(f"{model}: {rows.height:,} predictions in {requests} requests; {labels:,} labels will arrive")
    return Replayed(model, requests, rows.height, labels)


def moments(model: str, start: datetime, end: datetime) -> pl.DataFrame:
    """The examples of a period, each with its features as they were known at its own moment.

    The period that was asked for last is kept: staging verifies versions of one day on the same month.
    """
    return _moments(models.load(model), encode_json(params(model).ingest), start, end)


@lru_cache(maxsize=1)
def _moments(definition: Model, ingest: bytes, start: datetime, end: datetime) -> pl.DataFrame:
    sources = read_sources(decode_json(ingest, IngestParams, "ingest"))
    tables = definition.known(definition.arrange(sources), end + LABELS_WITHIN)
    sound = {name: checked.sound for name, checked in check_all(tables, definition.rules).items()}
    return examples(definition, sound, start, end)


def bodies(rows: pl.DataFrame, contract: Contract) -> Iterator[dict[str, object]]:
    """Bodies for /predict_batch, `BATCH` rows each, in order."""
    names = [feature.name for feature in contract.features]
    for part in rows.iter_slices(BATCH):
        yield {
            "rows": part.select(names).to_dicts(),
            "ids": part[ID].to_list(),
            "at": [moment.astimezone(UTC).isoformat() for moment in part[AT]],
        }


def file_labels(model: str, rows: pl.DataFrame, contract: Contract, settings: Settings) -> int:
    """File the labels of `rows` by month of arrival, each month's part under the period it came from.

    A label that arrives later is a new file, never an edit of an old one. Returns how many there are.
    """
    known = rows.filter(pl.col(LABEL).is_not_null())
    classes = pl.Series(list(contract.classes))
    named = known.select(
        pl.col(ID).alias("entity_id"),
        classes.gather(known[LABEL]).alias("label"),
        pl.col(LABEL_AT).alias("arrived_at"),
        pl.col(LABEL_AT).dt.strftime("%Y-%m").alias("month"),
    )
    first, last = (moment.strftime("%Y%m%dT%H%M") for moment in rows[AT].sort().gather([0, -1]))
    source = f"{first}-{last}"
    for (month,), part in named.partition_by("month", as_dict=True, maintain_order=True).items():
        write_table(settings.labels(model) / f"{month}.from-{source}.parquet", part.drop("month"))
    return known.height


def _logged(client: httpx.Client) -> tuple[int, int]:
    """Rows that the service's prediction log has written, and those that it lost."""
    try:
        log = client.get("/status").raise_for_status().json()["prediction_log"]
    except httpx.HTTPError as error:
        raise _silent(client, error) from None
    return int(log["written"]), int(log["dropped"]) + int(log["failed"])


def _await_log(client: httpx.Client, before: tuple[int, int], rows: int) -> None:
    """Return once the log, which is written behind the answers, holds `rows` more rows than `before`.

    Raises:
        FlightlineError: it lost some, or does not catch up.
    """
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        written, lost = (now - then for now, then in zip(_logged(client), before, strict=True))
        if lost:
            raise FlightlineError(
                f"the prediction log of {client.base_url} lost {lost:,} of {rows:,} predictions",
                "every answer to be logged",
                "See prediction_log in its /status: a full queue or a full disk",
            )
        if written >= rows:
            return
        if time.monotonic() > deadline:
            raise FlightlineError(
                f"the prediction log of {client.base_url} did not catch up within {TIMEOUT_S:.0f} s",
                "every answer to be logged",
                "See prediction_log in its /status",
            )
        threading.Event().wait(0.05)


def _silent(client: httpx.Client, error: httpx.HTTPError) -> FlightlineError:
    return FlightlineError(
        f"{client.base_url} does not answer ({error})", "a running service", "Run: make up"
    )


def _send(client: httpx.Client, model: str, body: dict[str, object]) -> None:
    try:
        answer = client.post("/predict_batch", params={"model": model}, json=body)
    except httpx.TransportError as error:
        raise _silent(client, error) from None
    if answer.is_error:
        raise FlightlineError(
            f"the service refused a request with {answer.status_code}: {answer.text[:300]}",
            "rows that fulfil the contract, and a service with clock: request",
            "Stop the service and start it with FLIGHTLINE_PRODUCTION_CLOCK=request make up",
        )


def main(argv: list[str] | None = None) -> int:
    """Replay a period."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.replay",
        description=__doc__,
        epilog="example: python -m pipelines.replay flights --from 2013-04-01 --until 2013-05-01",
    )
    parser.add_argument("model", help=f"one of {', '.join(models.names())}")
    parser.add_argument("--from", dest="start", type=parse_moment, required=True, help="first moment, UTC")
    parser.add_argument("--until", dest="end", type=parse_moment, required=True, help="first moment after")
    parser.add_argument("--environment", default="production", help="where to send it (production)")
    parser.add_argument("--json", action="store_true", help="for a program to read")
    options = parser.parse_args(argv)
    models.load(options.model)
    found = replay(
        options.model,
        options.start,
        options.end,
        Settings.from_environment(),
        environment=options.environment,
        say=quiet if options.json else print,
    )
    if options.json:
        print(json.dumps(asdict(found)))
    return OK


if __name__ == "__main__":
    command(main)
