"""Rows per second of batch scoring, from Parquet to Parquet, beside onnxruntime alone on the same rows.

Every side uses every core. onnxruntime gets arrays that are ready in memory, and what it answers is thrown
away; scoring reads, checks, answers and writes. onnxruntime is asked in two ways: with threads of its own
inside each run, and with as many threads as cores that each run pieces of equal size through a session of
one core, as scoring does, which is the harder measure. They take turns within a turn, and what is told is the
median of the turns' ratios. Where others use the machine too, the CPU time a row says more than the rate.
"""

import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import polars as pl

from benchmarks.inference import session
from benchmarks.measurements import (
    Measurement,
    Section,
    host,
    loop,
    measure,
    middle,
    names,
    options,
    ratios,
    spread,
    tell,
)
from benchmarks.measurements import rows as markdown
from contract.bundle import open_bundle
from contract.errors import FlightlineError
from contract.predictions import FEATURE_PREFIX
from pipelines.cli import OK, command
from pipelines.scoring.checking import Checked, check
from pipelines.scoring.tables import PIECE_ROWS, RUN_ROWS, Task, cores, score_table
from serving.models.predictor import Predictor
from serving.rows import Categories, Numbers

SECTION = "scoring"
OWN, THREADS, SCORED = "onnxruntime, its own threads", "onnxruntime, a run a thread", "scored"
ROWS, TURNS = 400_000, 7
LEAST = 0.9  # of in-process onnxruntime's rows a second: what was asked for


def bench(bundle_path: Path, rows: int, turns: int) -> list[Measurement]:
    """Rows a second and CPU time a row of onnxruntime alone, in both ways, and of scoring.

    Raises:
        FlightlineError: there is no bundle.
    """
    if not bundle_path.is_dir():
        raise FlightlineError(f"{bundle_path} does not exist", "a built model", "Run: make train")
    bundle = open_bundle(bundle_path)
    predictor = Predictor(bundle, "benchmark", {}, session(bundle))
    inside = replace(predictor, _session=session(bundle, cores()))
    columns = [feature.name for feature in bundle.contract.features]
    sample = pl.read_parquet(bundle_path / "reference.parquet").select(
        pl.col(FEATURE_PREFIX + name).alias(name).fill_nan(None)
        if feature.kind == "number"
        else pl.col(FEATURE_PREFIX + name).alias(name)
        for name, feature in zip(columns, bundle.contract.features, strict=True)
    )
    table = pl.concat([sample] * (rows // sample.height + 1)).head(rows)
    checked = [check(bundle.contract, piece) for piece in table.iter_slices(PIECE_ROWS)]
    runs = [run for item in checked for run in _runs(item)]
    found = []
    with tempfile.TemporaryDirectory(prefix="flightline-") as place, ThreadPoolExecutor(cores()) as pool:
        task = Task(Path(place) / "in.parquet", Path(place) / "out.parquet", None, "", {})
        table.write_parquet(task.source)
        works: dict[str, Callable[[], object]] = {
            OWN: lambda: [inside.predict(*run) for run in runs],
            SCORED: lambda: score_table(task, predictor),
            THREADS: lambda: list(pool.map(lambda run: predictor.predict(*run), runs)),
        }
        for turn in range(turns):
            for name, work in works.items():
                one = measure(name, turn, partial(_cost, work, rows))
                print(f"{name:30} {one.values['rows_per_s']:>10,.0f} rows/s", file=sys.stderr)
                found.append(one)
    return found


def table(found: Sequence[Measurement]) -> str:
    """Medians, and what scoring reaches of onnxruntime in either way, turn by turn."""
    head = ["every core", "rows/s", "scoring's share", "CPU a row", "scoring's CPU", "loop"]
    lines = []
    for name in names(found):
        rate, cpu = (middle(found, name, value) for value in ("rows_per_s", "cpu_us_per_row"))
        shares = [spread(ratios(found, SCORED, name, value)) for value in ("rows_per_s", "cpu_us_per_row")]
        rate_share, cpu_share = shares if name != SCORED else ("", "")
        beside = f"{loop(found, name) * 1e3:.3g} ms"
        lines.append([name, f"{rate:,.0f}", rate_share, f"{cpu:.2f} µs", cpu_share, beside])
    return (
        f"{markdown(head, lines)}\n\nAsked for: at least {LEAST} of in-process onnxruntime's rows a second."
    )


def _runs(item: Checked) -> Iterator[tuple[Numbers, Categories | None]]:
    """The arrays of one piece as the graph gets them, run by run."""
    for start in range(0, len(item.numbers), RUN_ROWS):
        part = slice(start, start + RUN_ROWS)
        yield item.numbers[part], None if item.categories is None else item.categories[part]


def _cost(work: Callable[[], object], rows: int) -> dict[str, float]:
    began, before = time.perf_counter(), time.process_time()
    work()
    cpu, took = time.process_time() - before, time.perf_counter() - began
    return {"rows_per_s": rows / took, "cpu_us_per_row": cpu / rows * 1e6}


def main(argv: list[str] | None = None) -> int:
    """Measure, print the table, and keep it where asked to."""
    parser = options("benchmarks.scoring", __doc__, "--rows 400000 --turns 7")
    parser.add_argument("--rows", type=int, default=ROWS, help=f"that are scored each time ({ROWS})")
    parser.add_argument("--turns", type=int, default=TURNS, help=f"measurements of each ({TURNS})")
    given = parser.parse_args(argv)
    found = bench(Path("artifacts") / given.model / "bundle", given.rows, given.turns)
    tell(SECTION, Section(host(), given.model, found), table, given)
    return OK


if __name__ == "__main__":
    command(main)
