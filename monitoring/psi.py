"""The population stability index exactly as Evidently computes it, over counts, so that it can be resampled.

Definition: sum over bins of (r - c) ln(r / c), r and c being shares of reference and current rows; missing
and infinite values are left out. Numbers with more than 20 different values are cut into equal bins of the
joint range (Sturges), all else is counted by value, and an empty bin counts as a small share.
"""

import numpy as np
import numpy.typing as npt
import polars as pl

RARE = "(rare)"
_MAX_VALUES = 20  # Evidently counts numbers by value up to so many
_SMALL = 1e-4  # share given to an empty bin, unless some bin is as small itself

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]


def psi(reference: pl.Series, current: pl.Series) -> float:
    """PSI (nats) of two columns of the same type; NaN when either has no usable value."""
    reference, current = usable(reference), usable(current)
    if reference.is_empty() or current.is_empty():
        return float("nan")
    codes, bins = bin_codes(pl.concat([reference, current]), by_value=is_by_value(reference))
    split = reference.len()
    counts = [np.bincount(part, minlength=bins) for part in (codes[:split], codes[split:])]
    return float(psi_of_counts(*(count.astype(np.float64)[None, :] for count in counts))[0])


def usable(column: pl.Series) -> pl.Series:
    """The column without missing, NaN and infinite values."""
    return column.filter(usable_rows(column))


def usable_rows(column: pl.Series) -> pl.Series:
    """Which rows of a column have a value that counts: not missing, NaN or infinite."""
    return column.is_finite().fill_null(value=False) if column.dtype.is_float() else column.is_not_null()


def is_by_value(reference: pl.Series) -> bool:
    """Whether a column of usable values is compared value by value rather than by ranges."""
    return not reference.dtype.is_numeric() or reference.n_unique() <= _MAX_VALUES


def bin_codes(values: pl.Series, *, by_value: bool) -> tuple[Codes, int]:
    """The bin of every usable value, from 0, and the number of bins."""
    array = values.to_numpy()
    if by_value:
        different, codes = np.unique(array, return_inverse=True)
        return codes.astype(np.int64), len(different)
    edges = np.histogram_bin_edges(array, bins="sturges")
    # numpy's histogram closes the last bin on the right as well.
    codes = np.clip(np.searchsorted(edges, array, side="right") - 1, 0, len(edges) - 2)
    return codes.astype(np.int64), len(edges) - 1


def psi_of_counts(reference: Floats, current: Floats) -> Floats:
    """PSI of each row of two (rows, bins) tables of counts; NaN where a row of either has no count."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ours, theirs = (_shares(table) for table in (reference, current))
        return np.asarray(((ours - theirs) * np.log(ours / theirs)).sum(axis=1), dtype=np.float64)


def pool_rare(
    reference: pl.DataFrame, current: pl.DataFrame, columns: list[str], share: float
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Both frames with the values of text `columns` that fewer than `share` of reference rows have as one."""
    pooled = []
    for name in columns:
        counts = reference[name].drop_nulls().value_counts()
        common = counts.filter(pl.col("count") >= share * reference.height)[name].to_list()
        column = pl.col(name)
        pooled.append(pl.when(column.is_null() | column.is_in(common)).then(column).otherwise(pl.lit(RARE)))
    named = [expression.alias(name) for expression, name in zip(pooled, columns, strict=True)]
    return reference.with_columns(named), current.with_columns(named)


def _shares(counts: Floats) -> Floats:
    shares = counts / counts.sum(axis=1, keepdims=True)
    smallest = np.where(shares > 0, shares, np.inf).min(axis=1, keepdims=True)
    stand_in = np.where(smallest <= _SMALL, smallest / 1e6, _SMALL)
    return np.asarray(np.where(shares == 0, stand_in, shares), dtype=np.float64)
