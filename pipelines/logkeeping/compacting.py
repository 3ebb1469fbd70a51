"""Small segments of one day merged into larger ones, row for row and in their order."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import polars as pl
import pyarrow.parquet as pq

from contract.errors import FlightlineError
from contract.locks import exclusive
from contract.predictions import completed
from contract.segments import generations, live_segments
from pipelines.logkeeping.generations import GRACE_S, adopt, advance, sweep
from pipelines.machine.files import scratch

SMALL_BYTES = 32 * 1024**2  # a segment of this size is left alone
LARGEST_BYTES = 128 * 1024**2  # of the segments that are merged into one
GROUP_ROWS = 100_000  # rows of a row group, and about as many in memory
_NAME = re.compile(r"(?P<day>\d{8})T\d{12}-")  # of contract.predictions.segment_name


@dataclass(frozen=True)
class Kept:
    """What a compaction or a pruning did to one log."""

    model: str
    segments_before: int
    segments_after: int
    rows_before: int
    rows_after: int
    folders_removed: int  # out of use, or left half made by a kill


def compact(folder: Path, *, small: int = SMALL_BYTES, grace_s: float = GRACE_S) -> Kept:
    """Merge the small segments of the log `folder`, each day's for itself.

    Safe beside a writing service, readers and a kill: the log changes in one step, of whole files.

    Raises:
        FlightlineError: there is no log, another compaction runs, or the merged rows are not those it had.
        OSError: the disk refuses.
    """
    with _alone(folder):
        adopt(folder)
        removed = sweep(folder, grace_s)
        before = live_segments(folder)
        counts = {path: rows_of(path) for path in before}
        with scratch(generations(folder)) as part:
            merged: set[Path] = set()
            for group in _groups(before, small):
                start = group[0].name.partition("-")[0]
                made = part / f"{start}-merged-{uuid4().hex[:12]}.parquet"
                _merge(group, made)
                _same_rows(made, sum(counts[path] for path in group))
                counts[made] = rows_of(made)
                merged.update(group)
            if merged:
                advance(folder, part, merged)
        after = [rows for path, rows in counts.items() if path not in merged]
        rows_before = sum(counts[path] for path in before)
        return Kept(folder.name, len(before), len(after), rows_before, sum(after), removed)


def prune(folder: Path, days: float, now: datetime, *, grace_s: float = GRACE_S) -> Kept:
    """Remove the segments whose newest row was received more than `days` before `now`.

    A segment goes as a whole, so that a row stays as long as the rows beside it: at most a day more.

    Raises:
        FlightlineError: there is no log, or another compaction runs.
        OSError: the disk refuses.
    """
    limit = now.astimezone(UTC) - timedelta(days=days)
    with _alone(folder):
        adopt(folder)
        removed = sweep(folder, grace_s)
        counts = {path: rows_of(path) for path in live_segments(folder)}
        old = [path for path in counts if _newest_row(path) < limit]
        if old:
            with scratch(generations(folder)) as part:
                advance(folder, part, old)
        gone = sum(counts[path] for path in old)
        total = sum(counts.values())
        return Kept(folder.name, len(counts), len(counts) - len(old), total, total - gone, removed)


def rows_of(path: Path) -> int:
    """Rows of a segment, by its footer."""
    return int(pq.read_metadata(path).num_rows)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One change of a log's segments at a time; the service goes on writing."""
    if not folder.parent.is_dir():
        raise FlightlineError(f"{folder.parent} does not exist", "a folder of prediction logs", "Correct it")
    with exclusive(folder.parent / f".{folder.name}.lock", f"change of the log {folder.name}", wait_s=5):
        yield


def _groups(paths: Sequence[Path], small: int) -> Iterator[list[Path]]:
    """Runs of two or more small segments, one after another, of one day and one layout."""
    group: list[Path] = []
    key: object = None
    total = 0
    for path in paths:
        named, size = _NAME.match(path.name), path.stat().st_size
        if named is None or size >= small:
            continue
        found = (named["day"], tuple(completed(pl.scan_parquet(path, glob=False)).collect_schema().items()))
        if found != key or total + size > LARGEST_BYTES:
            if len(group) > 1:
                yield group
            group, key, total = [], found, 0
        group.append(path)
        total += size
    if len(group) > 1:
        yield group


def _merge(group: Sequence[Path], into: Path) -> None:
    """The rows of `group` in their order as one file; about `GROUP_ROWS` of them in memory."""
    writer: pq.ParquetWriter | None = None
    waiting: list[pl.DataFrame] = []
    try:
        for number, path in enumerate(group, start=1):
            waiting.append(completed(pl.scan_parquet(path, glob=False)).collect())
            if sum(map(len, waiting)) >= GROUP_ROWS or number == len(group):
                rows = pl.concat(waiting).to_arrow()
                writer = writer or pq.ParquetWriter(into, rows.schema, compression="zstd")
                writer.write_table(rows)
                waiting = []
    finally:
        if writer is not None:
            writer.close()


def _same_rows(made: Path, expected: int) -> None:
    found = rows_of(made)
    if found != expected:
        raise FlightlineError(
            f"the merged segment has {found} rows", f"the {expected} rows it was made of", "Run this again"
        )


def _newest_row(path: Path) -> datetime:
    newest = pl.scan_parquet(path, glob=False).select(pl.col("received_at").max()).collect().item()
    # A segment without rows says nothing and may go.
    return newest if isinstance(newest, datetime) else datetime.min.replace(tzinfo=UTC)
