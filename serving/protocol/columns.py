"""Whole columns of values against a contract: the rows that a model takes, or what is wrong with them."""

import math
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from contract.schema import Contract, Feature
from serving.protocol.tensors import Floats
from serving.recording.answered import Matrices
from serving.rows import Rows, Value, decode_rows

Mask: TypeAlias = NDArray[np.bool_]

MOST_COMPILED = 64  # contracts whose limits are kept; a service holds fewer


def check(contract: Contract, numbers: Floats, words: list[list[str]]) -> Rows:
    """Rows from `numbers` (rows, numbers) and `words`, one list a category, checked against the contract.

    Raises:
        RowsRefusedError: a value is not as the contract says.
    """
    limits = _limits(contract)
    missing = np.isnan(numbers)
    with np.errstate(invalid="ignore"):
        outside = (numbers < limits.least) | (numbers > limits.most)
    unknown = [_unknown(feature, column) for feature, column in zip(contract.categories, words, strict=True)]
    if (
        np.isinf(numbers).any()
        or (missing & limits.required).any()
        or (outside & limits.strict).any()
        or any(bad for bad, _ in unknown)
    ):
        return decode_rows(contract, plain_rows(contract, numbers, words, ()))
    categories = None
    if words:
        categories = np.empty((len(numbers), len(words)), dtype=object)
        for column, strings in enumerate(words):
            categories[:, column] = strings
    absent = _counted(contract.numbers, missing)
    absent.update(
        {
            feature.name: column.count("")
            for feature, column in zip(contract.categories, words, strict=True)
            if "" in column
        }
    )
    return Rows(
        values=Matrices(contract, _exact(limits, numbers), categories),
        numbers=numbers,
        categories=categories,
        out_of_range=_counted(contract.numbers, outside),
        unknown_category=Counter(
            {
                feature.name: count
                for feature, (_, count) in zip(contract.categories, unknown, strict=True)
                if count
            }
        ),
        missing=absent,
    )


@dataclass(frozen=True)
class _Limits:
    """What numbers are compared with, each (numbers,)."""

    contract: Contract  # kept, so that its identity is no other's
    least: Floats
    most: Floats
    required: Mask  # may not be missing
    strict: Mask  # may not be out of range
    rounded: tuple[tuple[int, float, float], ...]  # column, bound in 32 bits, bound; where those two differ


_compiled: dict[int, _Limits] = {}


def _limits(contract: Contract) -> _Limits:
    found = _compiled.get(id(contract))
    if found is None:
        if len(_compiled) >= MOST_COMPILED:
            _compiled.clear()
        numbers = contract.numbers
        found = _compiled[id(contract)] = _Limits(
            contract=contract,
            least=np.array([_bound(f.minimum, -math.inf) for f in numbers], dtype=np.float32),
            most=np.array([_bound(f.maximum, math.inf) for f in numbers], dtype=np.float32),
            required=np.array([not f.nullable for f in numbers], dtype=np.bool_),
            strict=np.array([f.out_of_range == "refuse" for f in numbers], dtype=np.bool_),
            rounded=tuple(
                (column, rounded, bound)
                for column, feature in enumerate(numbers)
                for rounded, bound in _rounded(feature)
            ),
        )
    return found


def _bound(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value


def _unknown(feature: Feature, column: list[str]) -> tuple[bool, int]:
    """Whether a column holds anything that may be refused, and how many categories that are only counted."""
    strange = set(column) - set(feature.categories) if feature.categories else set()
    missing = "" in column
    if missing and not feature.nullable:
        return True, 0
    if any("\0" in word for word in (strange or set(column))):
        return True, 0
    strange.discard("")
    if strange and feature.unknown_category == "refuse":
        return True, 0
    return False, sum(word in strange for word in column) if strange else 0


def _counted(features: Sequence[Feature], where: Mask) -> Counter[str]:
    """How many rows of each feature are true in `where` (rows, features)."""
    if not where.any():
        return Counter()
    sums = where.sum(axis=0).tolist()
    return Counter({feature.name: count for feature, count in zip(features, sums, strict=True) if count})


def plain_rows(
    contract: Contract, numbers: Floats, words: list[list[str]], without: Collection[str]
) -> list[dict[str, Value]]:
    """The rows by name, as they would stand in JSON, but for the features `without`; nothing is checked."""
    names = [feature.name for feature in contract.features]
    rows = _values(contract, numbers, np.isnan(numbers), words)
    return [
        {name: value for name, value in zip(names, row, strict=True) if name not in without} for row in rows
    ]


def _values(
    contract: Contract, numbers: Floats, missing: Mask, words: list[list[str]]
) -> tuple[tuple[Value, ...], ...]:
    """The rows, each in the contract's order of features; what is missing is None."""
    columns: dict[str, list[Value]] = {}
    holes = set(np.flatnonzero(missing.any(axis=0)).tolist())
    for column, feature in enumerate(contract.numbers):
        values: list[Value] = numbers[:, column].tolist()
        if column in holes:
            absent = missing[:, column].tolist()
            values = [None if gone else value for value, gone in zip(values, absent, strict=True)]
        columns[feature.name] = _exact_bounds(feature, values)
    for feature, strings in zip(contract.categories, words, strict=True):
        columns[feature.name] = [word or None for word in strings] if "" in strings else [*strings]
    return tuple(zip(*(columns[feature.name] for feature in contract.features), strict=True))


def _exact_bounds(feature: Feature, values: list[Value]) -> list[Value]:
    """`values` of 32 bits; one that a bound was rounded to is that bound, and so within it."""
    for rounded, bound in _rounded(feature):
        values = [bound if value == rounded else value for value in values]
    return values


def _exact(limits: _Limits, numbers: Floats) -> NDArray[np.float64]:
    """The same of whole columns (rows, numbers)."""
    exact = numbers.astype(np.float64)
    for column, rounded, bound in limits.rounded:
        exact[exact[:, column] == rounded, column] = bound
    return exact


def _rounded(feature: Feature) -> list[tuple[float, float]]:
    """The bounds that 32 bits do not hold: what they are rounded to, and what they are."""
    bounds = [bound for bound in (feature.minimum, feature.maximum) if bound is not None]
    return [(rounded, bound) for bound in bounds if (rounded := float(np.float32(bound))) != bound]
