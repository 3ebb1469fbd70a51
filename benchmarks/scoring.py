"""Rows per second of batch scoring, from Parquet to Parquet, beside onnxruntime alone on the same rows.

Every side uses every core. onnxruntime gets arrays that are ready in memory, and what it answers is thrown
away; scoring reads, checks, answers and writes. onnxruntime is asked in two ways: with threads of its own
inside each run, and with as many threads as cores that each run pieces of equal size through a session of
one core, as scoring does. They take turns, and the median of the rounds' ratios counts, so that a machine
that slows down slows all.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import polars as pl

from benchmarks.calibration import Figure, calibrate
from benchmarks.inference import session
from contract.bundle import open_bundle
from contract.errors import FlightlineError
from contract.predictions import FEATURE_PREFIX
from pipelines.scoring.checking import Checked, check
from pipelines.scoring.tables import PIECE_ROWS, RUN_ROWS, Task, cores, score_table
from serving.models.predictor import Predictor
from serving.rows import Categories, Numbers

ROWS, ROUNDS = 200_000, 3


def scoring(bundle_path: Path, rows: int = ROWS, rounds: int = ROUNDS) -> list[Figure]:
    """Seconds a row of onnxruntime alone and of scoring, with the ratio of their rates.

    Raises:
        FlightlineError: there is no bundle.
    """
    if not bundle_path.is_dir():
        raise FlightlineError(f"{bundle_path} does not exist", "a built model", "Run: make train")
    bundle = open_bundle(bundle_path)
    predictor = Predictor(bundle, "benchmark", {}, session(bundle))
    names = [feature.name for feature in bundle.contract.features]
    sample = pl.read_parquet(bundle_path / "reference.parquet").select(
        pl.col(FEATURE_PREFIX + name).alias(name).fill_nan(None)
        if feature.kind == "number"
        else pl.col(FEATURE_PREFIX + name).alias(name)
        for name, feature in zip(names, bundle.contract.features, strict=True)
    )
    table = pl.concat([sample] * (rows // sample.height + 1)).head(rows)
    checked = [check(bundle.contract, piece) for piece in table.iter_slices(PIECE_ROWS)]
    runs = [run for item in checked for run in _runs(item)]
    inside = replace(predictor, _session=session(bundle, cores()))
    own, alone, whole = [], [], []
    before = calibrate()
    with tempfile.TemporaryDirectory(prefix="flightline-") as place, ThreadPoolExecutor(cores()) as pool:
        task = Task(Path(place) / "in.parquet", Path(place) / "out.parquet", None, "", {})
        table.write_parquet(task.source)
        for _ in range(rounds):
            alone.append(_seconds(lambda: list(pool.map(lambda run: predictor.predict(*run), runs))))
            whole.append(_seconds(lambda: score_table(task, predictor)))
            own.append(_seconds(lambda: [inside.predict(*run) for run in runs]))
    loop = (before + calibrate()) / 2
    threads = f"{cores()} threads"
    ratios = f"{_median(alone, whole):.2f} of onnxruntime in as many, {_median(own, whole):.2f} of its own"
    return [
        _figure(f"{bundle.model}: onnxruntime's own threads", min(own) / rows, loop, threads),
        _figure(f"{bundle.model}: onnxruntime in threads", min(alone) / rows, loop, threads),
        _figure(
            f"{bundle.model}: scored, Parquet to Parquet", min(whole) / rows, loop, f"{threads}: {ratios}"
        ),
    ]


def _median(theirs: list[float], ours: list[float]) -> float:
    """The rate of ours over theirs, the median of the rounds."""
    return statistics.median(their / our for their, our in zip(theirs, ours, strict=True))


def _runs(item: Checked) -> Iterator[tuple[Numbers, Categories | None]]:
    """The arrays of one piece as the graph gets them, run by run."""
    for start in range(0, len(item.numbers), RUN_ROWS):
        part = slice(start, start + RUN_ROWS)
        yield item.numbers[part], None if item.categories is None else item.categories[part]


def _figure(name: str, seconds: float, loop: float, detail: str) -> Figure:
    return Figure(name, seconds, loop, detail=f"{1 / seconds:,.0f} rows/s, {detail}")


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
