"""C7: a month of the past scored over HTTP and by the batch scorer, and the answers compared row by row."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import msgspec
import numpy as np
import polars as pl

from contract.bundle import Bundle
from contract.predictions import SCORE_PREFIX
from pipelines.scoring.tables import REASON, ROW, Task, score_table
from pipelines.staging.checks import ENTITY, JSON, Found, answer, refused
from pipelines.staging.past import Past
from serving.models.predictor import Predictor

BATCH = 1_000  # rows a request, as many as one may have
MOST_BYTES = 3_000_000  # of a request; the service takes 4 MiB
REFUSED_TRIED = 20  # of the rows that the batch scorer refuses


def verify(
    client: httpx.Client,
    predictor: Predictor,
    past: Past,
    folder: Path,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> tuple[str, Mapping[str, float]]:
    """What was seen when the service and the batch scorer answered the same rows.

    `predictor` is the release as the batch scorer loads it; `folder` is empty, and takes its tables.

    Raises:
        Found: an answer differs by more than the bundle's own tolerance, or only one of the two refuses.
        httpx.HTTPError: the service does not answer.
    """
    bundle, rows = predictor.bundle, past.rows
    expected, refusals = _batch(rows, predictor, folder)
    if expected.is_empty():
        raise Found(f"the batch scorer refuses all of {rows.height:,} {past.what}", {"rows": 0.0})
    accepted = rows[expected[ROW].to_list()]
    worst, done = 0.0, 0
    for part in accepted.iter_slices(_fitting(accepted)):
        body = _ask(client, bundle, part)
        worst = max(worst, _difference(body, expected[done : done + part.height], bundle))
        done += part.height
        progress(done, accepted.height)
    for row in rows[refusals[ROW].head(REFUSED_TRIED).to_list()].to_dicts():
        _refuse_alike(client, bundle, row)
    measured = {"rows": float(done), "refused": float(refusals.height), "largest_difference": worst}
    aside = f", {refusals.height:,} refused by both" if refusals.height else ""
    return f"{done:,} {past.what} scored alike over HTTP and in batch, within {worst:.2g}{aside}", measured


def _batch(rows: pl.DataFrame, predictor: Predictor, folder: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The batch scorer's answers and its refusals, by row."""
    rows.write_parquet(folder / "rows.parquet")
    task = Task(folder / "rows.parquet", folder / "answers.parquet", folder / "rejects.parquet", "", {})
    score_table(task, predictor)
    return pl.read_parquet(task.answers), pl.read_parquet(folder / "rejects.parquet").select(ROW, REASON)


def _fitting(rows: pl.DataFrame) -> int:
    """Rows a request, so that its body stays within what the service takes."""
    longest = len(msgspec.json.encode(rows.head(100).to_dicts())) // min(rows.height, 100)
    return max(1, min(BATCH, MOST_BYTES // (2 * longest)))


def _ask(client: httpx.Client, bundle: Bundle, part: pl.DataFrame) -> Any:
    content = msgspec.json.encode({"rows": part.to_dicts(), "ids": [ENTITY] * part.height})
    response = client.post("/predict_batch", params={"model": bundle.model}, content=content, headers=JSON)
    return answer(response)


def _difference(body: Mapping[str, Any], expected: pl.DataFrame, bundle: Bundle) -> float:
    """The largest difference of a score between a body and the batch scorer's rows.

    Raises:
        Found: a label differs, or a score by more than the bundle's tolerance.
    """
    classes: Sequence[str] = body["classes"]
    if tuple(classes) != bundle.contract.classes or body["digest"] != bundle.digest:
        raise Found(f"classes {classes} of bundle {body['digest'][:12]} answered")
    first = int(expected[ROW][0])
    labels = body["predictions"]
    if len(labels) != expected.height:
        raise Found(f"{len(labels)} answers to {expected.height} rows from row {first} on")
    scored = expected.select(SCORE_PREFIX + name for name in classes).to_numpy().astype(np.float64)
    apart = np.abs(np.asarray(body["scores"], dtype=np.float64) - scored).max(axis=1)
    tolerance = bundle.golden.tolerance
    other = np.array([one != two for one, two in zip(labels, expected["label"], strict=True)])
    wrong = np.flatnonzero(other | ~(apart <= tolerance))  # not `>`: a score that is NaN is wrong
    if wrong.size:
        row = int(wrong[0])
        raise Found(
            f"row {int(expected[ROW][row])} is '{labels[row]}' over HTTP and '{expected['label'][row]}' in "
            f"batch, scores {apart[row]:.3g} apart, tolerance {tolerance:.3g}; {wrong.size} of "
            f"{expected.height} rows from row {first} on differ",
            {"largest_difference": float(np.nanmax(apart))},
        )
    return float(apart.max())


def _refuse_alike(client: httpx.Client, bundle: Bundle, row: Mapping[str, Any]) -> None:
    response = client.post("/predict", params={"model": bundle.model}, json={"row": row, "id": ENTITY})
    if not refused(response):
        raise Found(f"a row that the batch scorer refuses is answered {response.status_code} over HTTP")
