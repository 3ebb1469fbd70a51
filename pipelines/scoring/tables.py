"""One table scored in bounded memory: read in pieces, answered by threads, written in order."""

import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Self

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from contract.errors import FlightlineError
from contract.predictions import SCORE_PREFIX
from contract.schema import Contract
from pipelines.scoring.checking import Checked, Texts, check, check_columns
from serving.models.predictor import Predictor

PIECE_ROWS = 32_768  # read, checked and written at once; each piece costs some milliseconds beside its rows
RUN_ROWS = 4_096  # of them through the model at once; more is slower, since they leave the core's cache
GROUP_PIECES = 2  # pieces in a row group of the output
BUFFER_BYTES = 1024 * 1024  # read of a column at once: a row group may be as large as the file
PREFIX = "flightline."  # of the keys in an output's metadata
ENTITY, ROW, REASON = "entity_id", "row", "reason"


@dataclass(frozen=True)
class Counted:
    """Rows of one table by what became of them, and the first refusal."""

    rows: int
    scored: int
    rejected: int
    first: str  # a sentence; empty where nothing was refused


@dataclass(frozen=True)
class Task:
    """One input and where its answers go."""

    source: Path
    answers: Path
    rejects: Path | None  # None: one bad row refuses the table
    entity: str  # the column with the id of what is predicted; empty: there is none
    metadata: dict[str, str]  # of the output, which also gets its counts


@dataclass(frozen=True)
class _Part:
    """One piece of the input."""

    start: int  # the number of its first row
    rows: pl.DataFrame
    texts: Mapping[str, Texts]  # columns beside those


@dataclass(frozen=True)
class _Piece:
    """What one piece of the input became."""

    answers: pl.DataFrame
    rejects: pl.DataFrame
    reason: str


class BadRowError(FlightlineError):
    """A row that the contract refuses, where nobody asked for refused rows to be set aside."""


def score_table(
    task: Task,
    predictor: Predictor,
    *,
    threads: int = 0,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> Counted:
    """Score `task.source`, a few pieces of it in memory; `progress` is told the rows done and in all.

    Each of `threads` (0: one a core) runs pieces through the one session, which uses one core, as the
    service does: the same graph over the same rows in the same way, so that the answers are the same.

    Raises:
        BadRowError: the contract refuses a row, and `task.rejects` is None.
        FlightlineError: the table has no such columns, or is no Parquet.
    """
    contract, threads = predictor.contract, threads or cores()
    with _opened(task.source) as table:
        schema = pl.DataFrame(table.schema_arrow.empty_table()).schema
        check_columns(contract, schema, task.source.name)
        if task.entity and task.entity not in schema:
            raise FlightlineError(
                f"{task.source.name} has no column '{task.entity}'", "the column of --id", "Name another"
            )
        names = [feature.name for feature in contract.features if feature.name in schema]
        wanted = list(dict.fromkeys([*names, task.entity] if task.entity else names))
        if task.rejects is not None:
            wanted = list(schema)  # a rejected row is kept whole
        total = table.metadata.num_rows
        coded = _read_as_codes(contract, schema, task)
        done = scored = rejected = 0
        first = ""
        with ExitStack() as stack:
            read = stack.enter_context(_opened(task.source, coded))
            answers = stack.enter_context(_Output(task.answers))
            rejects = stack.enter_context(_Output(task.rejects)) if task.rejects is not None else None
            pool = stack.enter_context(ThreadPoolExecutor(threads, thread_name_prefix="score"))
            pieces = _pieces(read, wanted, coded)
            work = partial(_score, predictor=predictor, entity=task.entity)
            for piece in _in_order(pool, 2 * threads + 2, pieces, work):
                if piece.reason and rejects is None:
                    raise _bad_row(task.source, piece)
                answers.add(piece.answers)
                if rejects is not None:
                    rejects.add(piece.rejects)
                first = first or piece.reason
                scored += piece.answers.height
                rejected += piece.rejects.height
                done += piece.answers.height + piece.rejects.height
                progress(done, total)
            found = Counted(done, scored, rejected, first)
            answers.note(task.metadata | {name: str(value) for name, value in asdict(found).items()})
    return found


def _bad_row(source: Path, piece: _Piece) -> BadRowError:
    found, _, expected = piece.reason.partition("; expected ")
    return BadRowError(
        f"{source.name}, row {piece.rejects[ROW][0]}: {found}",
        expected,
        "Correct the table, or set bad rows aside with --rejects FOLDER",
    )


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _read_as_codes(contract: Contract, schema: Mapping[str, pl.DataType], task: Task) -> list[str]:
    """The categories that are read as codes: those of which nobody needs the texts themselves."""
    if task.rejects is not None or not any(feature.name in schema for feature in contract.numbers):
        return []  # a rejected row is kept whole, and rows of no other column could not be counted
    names = [feature.name for feature in contract.categories if schema.get(feature.name) == pl.String()]
    return [name for name in names if name != task.entity]


@contextmanager
def _opened(path: Path, coded: Sequence[str] = ()) -> Iterator[pq.ParquetFile]:
    try:
        table = pq.ParquetFile(
            path, pre_buffer=False, buffer_size=BUFFER_BYTES, read_dictionary=list(coded) or None
        )
    except (pa.ArrowException, OSError) as error:
        text = " ".join(str(error).split())[:200]
        raise FlightlineError(
            f"{path} is no Parquet file ({text})", "a Parquet file", "Correct --input"
        ) from None
    with table:
        yield table


def _pieces(table: pq.ParquetFile, columns: list[str], coded: Sequence[str]) -> Iterator[_Part]:
    """Pieces of the table, of which the columns `coded` were read as codes."""
    start = 0
    plain = [name for name in columns if name not in coded]
    if not table.metadata.num_rows:  # it has an output all the same
        empty = table.schema_arrow.empty_table()
        texts = {name: Texts.of(pl.Series(name, [], pl.String())) for name in coded}
        yield _Part(0, pl.DataFrame(empty.select(plain)), texts)
    for batch in table.iter_batches(PIECE_ROWS, columns=columns, use_threads=False):
        texts = {name: Texts.of_codes(batch.column(name)) for name in coded}
        yield _Part(start, pl.DataFrame(batch.select(plain)), texts)
        start += batch.num_rows


def _in_order(
    pool: ThreadPoolExecutor,
    most: int,
    pieces: Iterator[_Part],
    work: Callable[[_Part], _Piece],
) -> Iterator[_Piece]:
    """The results of `work` in the order of the pieces, at most `most` of them under way."""
    waiting: deque[Future[_Piece]] = deque()
    try:
        for piece in pieces:
            waiting.append(pool.submit(work, piece))
            if len(waiting) >= most:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()


def _score(part: _Part, predictor: Predictor, entity: str) -> _Piece:
    """Check and answer one piece."""
    start, rows, contract = part.start, part.rows, predictor.contract
    checked = check(contract, rows, part.texts)
    kept = rows if not checked.refused else rows.filter(pl.Series(checked.accepted))
    numbers = np.flatnonzero(checked.accepted) + start
    made: dict[str, pl.Series] = {ROW: pl.Series(numbers, dtype=pl.Int64)}
    if entity:
        made[ENTITY] = kept[entity].cast(pl.String)
    made |= _answers(contract, predictor, checked)
    refused = sorted(checked.refused)
    reasons = [checked.refused[index] for index in refused]
    rejects = rows[refused].with_columns(
        pl.Series(ROW, [start + index for index in refused], pl.Int64), pl.Series(REASON, reasons, pl.String)
    )
    return _Piece(pl.DataFrame(made), rejects, reasons[0] if reasons else "")


def _answers(contract: Contract, predictor: Predictor, checked: Checked) -> dict[str, pl.Series]:
    rows = checked.numbers.shape[0]
    labels, scores = np.empty(rows, np.int64), np.empty((rows, len(contract.classes)), np.float32)
    for start in range(0, rows, RUN_ROWS):
        part = slice(start, start + RUN_ROWS)
        texts = None if checked.categories is None else checked.categories[part]
        labels[part], scores[part] = predictor.predict(checked.numbers[part], texts)
    if not np.isfinite(scores).all():
        raise FlightlineError(
            f"{contract.model} answered a score that is not finite",
            "finite scores",
            "Score with another version",
        )
    classes = pl.Series("label", list(contract.classes), pl.String)
    answers = {"label": classes.gather(labels)}
    for index, name in enumerate(contract.classes):
        answers[SCORE_PREFIX + name] = pl.Series(np.ascontiguousarray(scores[:, index]))
    return answers


class _Output:
    """A Parquet file of row groups of some pieces each."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._waiting: list[pl.DataFrame] = []
        self._writer: pq.ParquetWriter | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._writer is not None:
            if kind is None:
                self._flush()
            self._writer.close()
            self._writer = None

    def add(self, rows: pl.DataFrame) -> None:
        self._waiting.append(rows)
        if self._writer is None:
            schema = rows.head(0).to_arrow().schema
            # Scores and ids hardly repeat: a dictionary of them costs time and holds them all.
            texts = [name for name in schema.names if name == "label"]
            self._writer = pq.ParquetWriter(self._path, schema, compression="lz4", use_dictionary=texts)
        if len(self._waiting) >= GROUP_PIECES:
            self._flush()

    def note(self, facts: dict[str, str]) -> None:
        """Have the file say this of itself."""
        if self._writer is not None:
            self._writer.add_key_value_metadata({PREFIX + name: text for name, text in facts.items()})

    def _flush(self) -> None:
        if self._waiting and self._writer is not None:
            self._writer.write_table(pl.concat(self._waiting).to_arrow())
            self._waiting = []
