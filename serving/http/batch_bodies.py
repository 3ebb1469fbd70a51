"""The body of /predict_batch: many rows, or the same column by column."""

from typing import Any

import msgspec

from serving.http.bodies import BATCH_ROWS, RefusedError
from serving.rows import NAME_LENGTH, Problem, in_words


class BatchBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Rows, or the same by column: each name once, and so a third of the bytes."""

    rows: list[Any] | msgspec.UnsetType = msgspec.UNSET
    columns: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET  # values by feature, one a row
    ids: list[str] | None = None
    at: list[str] | None = None
    keys: list[Any] | None = None


def batch_rows(body: BatchBody) -> list[Any]:
    """The rows of a batch, unless it is empty, too long, or its lists differ in length.

    Raises:
        RefusedError: 422.
    """
    rows = body.rows
    if rows is msgspec.UNSET and body.columns is not msgspec.UNSET:
        rows = _by_row(body.columns)
    elif rows is msgspec.UNSET or body.columns is not msgspec.UNSET:
        found = "neither" if rows is msgspec.UNSET else "both"
        sentence = f"the batch has {found} of 'rows' and 'columns'; expected one of them"
        raise RefusedError(422, sentence, [Problem("body", found, "either rows or columns")])
    _check_count(len(rows))
    for name, values in (("ids", body.ids), ("at", body.at), ("keys", body.keys)):
        if values is not None and len(values) != len(rows):
            problem = Problem(name, f"{len(values)} values", f"{len(rows)}, one a row")
            raise RefusedError(422, f"'{name}' has {len(values)} values for {len(rows)} rows", [problem])
    return rows


def _by_row(columns: dict[str, Any]) -> list[Any]:
    """The rows of `columns`, each feature's values in the order of the rows."""
    lengths: dict[str, int] = {}
    for name, values in columns.items():
        place = f"columns.{name[:NAME_LENGTH]}"
        if not isinstance(values, list):
            problem = Problem(place, in_words(values), "a list of values, one a row")
            raise RefusedError(422, f"{place}: found {problem.found}; expected {problem.expected}", [problem])
        lengths[place] = len(values)
    for place, length in lengths.items():
        first, wanted = next(iter(lengths.items()))
        if length != wanted:
            problem = Problem(place, f"{length} values", f"{wanted}, as {first} has")
            raise RefusedError(422, f"{place} has {length} values; expected {problem.expected}", [problem])
    _check_count(next(iter(lengths.values()), 0))
    names = list(columns)
    return [dict(zip(names, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _check_count(rows: int) -> None:
    if not 1 <= rows <= BATCH_ROWS:
        problem = Problem("rows", f"{rows} rows", f"1 to {BATCH_ROWS}")
        raise RefusedError(422, f"the batch has {rows} rows; expected 1 to {BATCH_ROWS}", [problem])
