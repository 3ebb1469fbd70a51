"""The feature matrix of one size, computed in one way, in a process of its own whose memory is then known.

The data grow in one of two directions. As years that follow one another, 364 days apart, so that weekdays
stay as they are. Or as keys within one year: each copy has carriers, airports and routes of its own.
"""

import argparse
import resource
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np
import polars as pl

from benchmarks.calibration import calibrate
from pipelines.building.config import params
from pipelines.building.sources import read_sources
from pipelines.cli import OK, command
from training import model as models
from training.features import examples
from training.model import ID, Model, Tables
from training.validation import check_all

MODEL = "flights"
WAYS = ("one pass", "by quarter")
YEAR, QUARTER = timedelta(days=364), timedelta(days=91)
FIRST = datetime(2012, 12, 31, tzinfo=UTC)  # before the first flight
LABELS_WITHIN = timedelta(days=3)
SPARE = timedelta(days=1)  # what a row sets going may reach beyond a window: a flight waits for three hours


class Grown(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one size took in one way."""

    how: str
    years: int
    keys: int  # times the carriers, airports and routes
    rows: int
    seconds: float  # tables read, features computed, matrix written
    calibration_s: float
    peak_mb: float  # of the whole process, libraries included
    checksum: int  # over the rows, in any order


def prepare(folder: Path, times: int, *, keys: bool) -> None:
    """Write the sound tables of `times` years, or of one year with as many times the keys: a file a copy."""
    model = models.load(MODEL)
    arranged = model.arrange(read_sources(params(MODEL).ingest))
    for name, checked in check_all(arranged, model.rules).items():
        for copy in range(times if name in model.known_at else 1):
            rows = checked.sound
            other = with_own_keys(rows, model, copy) if keys else in_another_year(rows, copy)
            other.write_parquet(folder / f"{name}.{copy:02d}.parquet")


def in_another_year(table: pl.DataFrame, copy: int) -> pl.DataFrame:
    """`table` so many years later, with ids of its own."""
    return _with_own_ids(table.with_columns(pl.selectors.datetime() + copy * YEAR), copy)


def with_own_keys(table: pl.DataFrame, model: Model, copy: int) -> pl.DataFrame:
    """`table` with ids of its own and other names for whatever the aggregates look up by; numbers stay.

    The first copy keeps its names. An hour of the day is a key that all copies share.
    """
    names = {key for item in model.contract.features if item.aggregate for key in item.aggregate.by}
    keys = [name for name in table.columns if name in names and table.schema[name] == pl.String]
    other = table.with_columns(pl.concat_str(pl.col(key), pl.lit(f"/{copy}" if copy else "")) for key in keys)
    return _with_own_ids(other, copy)


def _with_own_ids(table: pl.DataFrame, copy: int) -> pl.DataFrame:
    if ID not in table.columns:
        return table
    return table.with_columns(pl.concat_str(pl.lit(f"{copy}/"), ID).alias(ID))


def grow(folder: Path, how: str, times: int, *, keys: bool) -> Grown:
    """Compute the matrix of the first `times` copies in `folder`, and write it beside them."""
    years = 1 if keys else times
    before, start = calibrate(), time.perf_counter()
    rows, checksum = 0, np.uint64(0)
    for number, matrix in enumerate(_matrices(folder, how, times, years)):
        matrix.write_parquet(folder / f"{how[:3]}-{times}-{number:03d}.matrix")
        checksum = np.add(checksum, matrix.hash_rows(seed=0).to_numpy().sum())  # wraps
        rows += matrix.height
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # kilobytes on Linux
    return Grown(
        how, years, times if keys else 1, rows, seconds, (before + calibrate()) / 2, peak, int(checksum)
    )


def _matrices(folder: Path, how: str, times: int, years: int) -> Iterator[pl.DataFrame]:
    model = models.load(MODEL)
    if how == "one pass":
        yield examples(model, _read(folder, model, times, None))
        return
    windows = [item.aggregate.window_minutes for item in model.contract.features if item.aggregate]
    back = timedelta(minutes=max(windows)) + SPARE
    since = FIRST
    while since < FIRST + years * YEAR + QUARTER:  # the data end a few days after their last year
        until = since + QUARTER
        tables = _read(folder, model, times, (since - back, until + LABELS_WITHIN))
        yield examples(model, tables, since, until)
        since = until


def _read(folder: Path, model: Model, times: int, known: tuple[datetime, datetime] | None) -> Tables:
    """The tables of the first copies; with `known`, only what became known between two moments."""
    tables = {}
    for name in sorted({path.name.partition(".")[0] for path in folder.glob("*.parquet")}):
        table = pl.scan_parquet(sorted(folder.glob(f"{name}.*.parquet"))[:times])
        if known is not None and name in model.known_at:
            table = table.filter(pl.col(model.known_at[name]).is_between(*known))
        tables[name] = table.collect()
    return tables


def main(argv: list[str] | None = None) -> int:
    """Prepare tables, or compute one size in one way and print what it took as JSON."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.growth",
        description=__doc__,
        epilog="example: python -m benchmarks.growth /tmp/tables 10 --how 'by quarter'",
    )
    parser.add_argument("folder", type=Path, help="of the tables")
    parser.add_argument("times", type=int, help="how many years, or times the keys")
    parser.add_argument("--keys", action="store_true", help="more keys in one year instead of more years")
    parser.add_argument("--how", choices=WAYS, help="compute; without it, the tables are prepared")
    options = parser.parse_args(argv)
    if options.how is None:
        prepare(options.folder, options.times, keys=options.keys)
    else:
        grown = grow(options.folder, options.how, options.times, keys=options.keys)
        print(msgspec.json.encode(grown).decode())
    return OK


if __name__ == "__main__":
    command(main)
