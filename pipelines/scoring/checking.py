"""Whole columns against a contract: what `serving.rows` accepts and makes of a row, for many rows at once."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from contract.errors import FlightlineError
from contract.schema import Contract, Feature
from contract.strict import near_miss
from serving.rows import Categories, Numbers, RowsRefusedError, allowed_range, decode_rows

NAMED = 3  # absent columns in a sentence: a contract may have dozens


@dataclass(frozen=True)
class Checked:
    """Accepted rows as the graph takes them, and those that the contract refuses."""

    accepted: NDArray[np.bool_]  # (rows,)
    numbers: Numbers  # (accepted, numbers); missing is NaN
    categories: Categories | None  # (accepted, categories); missing is ""; None where there are none
    refused: Mapping[int, str]  # row to a sentence about the first thing wrong with it


def check_columns(contract: Contract, schema: Mapping[str, pl.DataType], where: str) -> None:
    """Refuse a table in which a feature is absent or has a type that can hold no value of its kind.

    What may be null may be absent, but for a stored feature: where a request leaves one out the service looks
    it up, so that null here would be another answer.

    Raises:
        FlightlineError: which, and what was expected.
    """
    absent = [feature.name for feature in contract.stored if feature.name not in schema]
    if absent:
        raise _nothing_looked_up(contract, absent, schema, where)
    for feature in contract.features:
        kind = schema.get(feature.name)
        if kind is None:
            if feature.nullable:
                continue
            hint = near_miss(feature.name, list(schema))
            raise FlightlineError(
                f"{where} has no column '{feature.name}'{hint}", "a column for each feature", "Add it"
            )
        fits = _is_number(kind) if feature.kind == "number" else _is_text(kind)
        if not fits and kind != pl.Null():
            raise FlightlineError(
                f"column '{feature.name}' of {where} is {kind}",
                "numbers" if feature.kind == "number" else "texts",
                "Convert it",
            )


@dataclass(frozen=True)
class Texts:
    """A column of texts as codes: each text is looked at once, and is one Python object for all its rows."""

    words: pl.Series  # the different texts, and perhaps some that no row has
    codes: NDArray[np.int64]  # (rows,); a missing text has the code after the last
    missing: int

    @classmethod
    def of(cls, column: pl.Series) -> "Texts":
        """The texts of a column of strings."""
        return cls.of_codes(column.to_arrow().dictionary_encode())

    @classmethod
    def of_codes(cls, column: pa.DictionaryArray) -> "Texts":
        """The texts of a column that was read as codes."""
        words = pl.Series(column.dictionary.to_pylist(), dtype=pl.String())
        codes = column.indices.fill_null(len(words)).to_numpy(zero_copy_only=False)
        return cls(words, codes, column.null_count)

    def objects(self) -> NDArray[np.object_]:
        """The texts (rows,), "" where one is missing."""
        return np.array([*self.words, ""], dtype=np.object_)[self.codes]

    def plain(self, name: str) -> pl.Series:
        """The texts as a column of strings, null where one is missing."""
        return pl.Series(name, [*self.words, None], pl.String()).gather(self.codes)

    def suspect(self, feature: Feature) -> bool:
        """Whether the contract may refuse a text."""
        if self.missing and not feature.nullable:
            return True
        return bool(self.words.rename(feature.name).to_frame().select(_wrong(feature).any()).item())


def check(contract: Contract, rows: pl.DataFrame, texts: Mapping[str, Texts] | None = None) -> Checked:
    """Check `rows`, whose columns `check_columns` has passed, and make the graph's arrays of the good ones.

    `texts` are categories that are not among the columns of `rows` since they were read as codes, which saves
    making a text of each. Whether anything at all is wrong is asked of whole columns, at a fraction of what
    asking each row costs.
    """
    texts = texts or {}
    columns = {
        feature.name: _column(rows, feature) for feature in contract.features if feature.name not in texts
    }
    coded = {
        feature.name: texts.get(feature.name) or Texts.of(columns[feature.name])
        for feature in contract.categories
    }
    suspects = [
        feature
        for feature in contract.features
        if (
            coded[feature.name].suspect(feature)
            if feature.name in coded
            else _suspect(feature, columns[feature.name])
        )
    ]
    accepted = np.ones(rows.height, dtype=np.bool_)
    refused: dict[int, str] = {}
    if suspects:
        columns |= {name: column.plain(name) for name, column in texts.items()}
        wrong = pl.DataFrame([columns[feature.name] for feature in suspects])
        accepted = ~wrong.select(pl.any_horizontal(map(_wrong, suspects))).to_series().to_numpy()
        refused = {
            int(index): _sentence(contract, columns, int(index)) for index in np.flatnonzero(~accepted)
        }
    numbers = np.empty((rows.height, 0), dtype=np.float32)
    if contract.numbers:
        table = pl.DataFrame([columns[feature.name] for feature in contract.numbers])
        numbers = table.select(pl.all().cast(pl.Float32)).to_numpy(order="c")  # in which null is NaN
    words = None
    if contract.categories:
        words = np.empty((rows.height, len(contract.categories)), dtype=np.object_)
        for place, feature in enumerate(contract.categories):
            words[:, place] = coded[feature.name].objects()
    if refused:
        numbers, words = numbers[accepted], None if words is None else words[accepted]
    return Checked(accepted, numbers, words, refused)


def _nothing_looked_up(
    contract: Contract, absent: Sequence[str], schema: Mapping[str, pl.DataType], where: str
) -> FlightlineError:
    named = ", ".join(f"'{name}'" for name in absent[:NAMED])
    more = f" and {len(absent) - NAMED} more" if len(absent) > NAMED else ""
    hint = near_miss(absent[0], list(schema)) if len(absent) == 1 else ""
    return FlightlineError(
        f"{where} has no column {named}{more}{hint}; scoring looks up nothing in the online store",
        "a column for each stored feature, null where it is missing",
        f"Add {'it' if len(absent) == 1 else 'them'}: `python -m pipelines.build {contract.model}` computes "
        f"all features of its data and leaves them in artifacts/{contract.model}/split",
    )


def _is_number(kind: pl.DataType) -> bool:
    return kind.is_numeric()


def _is_text(kind: pl.DataType) -> bool:
    return kind == pl.String() or isinstance(kind, pl.Categorical | pl.Enum)


def _column(rows: pl.DataFrame, feature: Feature) -> pl.Series:
    """The feature's column as float64 or text; nulls where the table has none."""
    kind = pl.Float64() if feature.kind == "number" else pl.String()
    if feature.name not in rows.columns:
        return pl.Series(feature.name, [None], kind).new_from_index(0, rows.height)
    return rows[feature.name].cast(kind)


def _suspect(feature: Feature, column: pl.Series) -> bool:
    """Whether the contract may refuse a number of the column."""
    if column.null_count() and not feature.nullable:
        return True
    if column.null_count() == len(column):
        return False
    low, high = allowed_range(feature)
    # The extremes pass over NaN, and a sum does not; it costs a tenth of looking at each value.
    return not (low <= cast("float", column.min()) and cast("float", column.max()) <= high) or math.isnan(
        column.sum()
    )


def _wrong(feature: Feature) -> pl.Expr:
    """Which values the contract refuses, Boolean without nulls."""
    value = pl.col(feature.name)
    if feature.kind == "number":
        low, high = allowed_range(feature)
        wrong = value.is_nan() | (value < low) | (value > high)
    else:
        wrong = (value == "") | value.str.contains("\0", literal=True)
        if feature.categories and feature.unknown_category == "refuse":
            wrong |= ~value.is_in(list(feature.categories))
    # A comparison with null is null: a missing value is wrong only where the contract wants one.
    return wrong.fill_null(not feature.nullable)


def _sentence(contract: Contract, columns: Mapping[str, pl.Series], index: int) -> str:
    """What the service would say of the row."""
    row = {name: column[index] for name, column in columns.items()}
    try:
        decode_rows(contract, [row], "row")
    except RowsRefusedError as error:
        problem = error.problems[0]
        return f"{problem.field.removeprefix('row.')} is {problem.found}; expected {problem.expected}"
    raise AssertionError(f"row {index} is refused in a table and accepted alone: {row}")
