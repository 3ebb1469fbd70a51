"""Tensors of a request against a contract: the rows that a model takes, or why not.

Whole columns are compared at once. Where anything is not as the contract says, the rows go through
`decode_rows` as those of /predict do, which has the rule and the sentence for each value.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from contract.schema import Contract, Feature
from contract.strict import near_miss
from serving.http.bodies import BATCH_ROWS, RefusedError
from serving.protocol.tensors import BYTES, FP32, MOST_AXES, Floats, Tensor, wrong
from serving.rows import NAME_LENGTH, Rows, RowsRefusedError, Value, decode_rows

Mask: TypeAlias = NDArray[np.bool_]

NUMBERS, CATEGORIES = "numbers", "categories"  # the inputs of every graph
MOST_COMPILED = 64  # contracts whose limits are kept; a service holds fewer


def to_rows(contract: Contract, tensors: Sequence[Tensor]) -> Rows:
    """The rows that `tensors` hold: either the graph's inputs, or one tensor a feature.

    NaN and "" are what is missing, and refused where a feature may not be.

    Raises:
        RefusedError: 422, a tensor is unknown, missing, or of another datatype or shape, or a value is not
            as the contract says.
    """
    names = [tensor.name for tensor in tensors]
    for name in names:
        if names.count(name) > 1:
            raise wrong(f"inputs '{name[:NAME_LENGTH]}'", "the same tensor twice", "it once")
    given = {tensor.name: tensor for tensor in tensors}
    if given.keys() & {NUMBERS, CATEGORIES}:
        numbers, words = _graph(contract, given)
    else:
        numbers, words = _features(contract, given)
    try:
        return check(contract, numbers, words)
    except RowsRefusedError as error:  # a client of the protocol shows one sentence, so it has the first
        first, others = error.problems[0], len(error.problems) - 1
        sentence = f"{first.field}: found {first.found}; expected {first.expected}"
        more = f" (and {others} more)" if others else ""
        raise RefusedError(422, sentence + more, error.problems) from None


def check(contract: Contract, numbers: Floats, words: list[list[str]]) -> Rows:
    """Rows from `numbers` (rows, numbers) and `words`, one list a category, checked against the contract.

    Raises:
        RowsRefusedError: a value is not as the contract says.
    """
    limits = _limits(contract)
    missing = np.isnan(numbers)
    with np.errstate(invalid="ignore"):
        outside = (numbers < limits.least) | (numbers > limits.most)
    values = _values(contract, numbers, missing, words)
    unknown = [_unknown(feature, column) for feature, column in zip(contract.categories, words, strict=True)]
    if (
        np.isinf(numbers).any()
        or (missing & limits.required).any()
        or (outside & limits.strict).any()
        or any(bad for bad, _ in unknown)
    ):
        names = [feature.name for feature in contract.features]
        return decode_rows(contract, [dict(zip(names, row, strict=True)) for row in values])
    categories = None
    if words:
        categories = np.empty((len(values), len(words)), dtype=object)
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
        values=values,
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
        columns[feature.name] = values
    for feature, strings in zip(contract.categories, words, strict=True):
        columns[feature.name] = [word or None for word in strings] if "" in strings else [*strings]
    return tuple(zip(*(columns[feature.name] for feature in contract.features), strict=True))


def _graph(contract: Contract, given: dict[str, Tensor]) -> tuple[Floats, list[list[str]]]:
    """The graph's own inputs: float32 (rows, numbers), strings (rows, categories)."""
    wanted = {
        name: (datatype, len(features))
        for name, datatype, features in (
            (NUMBERS, FP32, contract.numbers),
            (CATEGORIES, BYTES, contract.categories),
        )
        if features
    }
    _compare_names(given, wanted)
    rows = 0
    for name, (datatype, width) in wanted.items():
        tensor = given[name]
        _check_tensor(tensor, datatype)
        rows = rows or _count_rows(tensor)
        if tensor.shape != (rows, width):
            raise wrong(f"inputs '{name}'", f"the shape {list(tensor.shape)}", f"[{rows}, {width}]")
    numbers = np.empty((rows, 0), dtype=np.float32)
    if NUMBERS in wanted:
        numbers = np.asarray(given[NUMBERS].values, dtype=np.float32).reshape(rows, -1)
    strings: list[str] = list(map(str, given[CATEGORIES].values)) if CATEGORIES in wanted else []
    width = len(contract.categories)
    return numbers, [strings[column::width] for column in range(width)]


def _features(contract: Contract, given: dict[str, Tensor]) -> tuple[Floats, list[list[str]]]:
    """One tensor a feature, (rows,) or (rows, 1). One that may be missing may be left out."""
    wanted = {f.name: (FP32 if f.kind == "number" else BYTES, 1) for f in contract.features}
    _compare_names(given, wanted, optional={f.name for f in contract.features if f.nullable})
    rows = 0
    for name, tensor in given.items():
        _check_tensor(tensor, wanted[name][0])
        rows = rows or _count_rows(tensor)
        if tensor.shape not in ((rows,), (rows, 1)):
            raise wrong(f"inputs '{name}'", f"the shape {list(tensor.shape)}", f"[{rows}] or [{rows}, 1]")
    numbers = np.full((rows, len(contract.numbers)), np.nan, dtype=np.float32)
    for column, feature in enumerate(contract.numbers):
        if feature.name in given:
            numbers[:, column] = given[feature.name].values
    absent = [""] * rows
    words = [list(map(str, given[f.name].values)) if f.name in given else absent for f in contract.categories]
    return numbers, words


def _compare_names(
    given: dict[str, Tensor], wanted: dict[str, tuple[str, int]], optional: set[str] | None = None
) -> None:
    known = ", ".join(wanted)
    for name in given.keys() - wanted.keys():
        short = name[:NAME_LENGTH]
        raise wrong(f"inputs '{short}'", "an unknown tensor" + near_miss(short, list(wanted)), known)
    for name in wanted:
        if name not in given and name not in (optional or set()):
            raise wrong(f"inputs '{name}'", "nothing", f"each of {known}")
    if not given:
        raise wrong("inputs", "nothing", f"at least one of {known}")


def _check_tensor(tensor: Tensor, datatype: str) -> None:
    if tensor.datatype != datatype:
        raise wrong(f"inputs '{tensor.name}'", f"the datatype {tensor.datatype}", datatype)


def _count_rows(tensor: Tensor) -> int:
    """The rows of the first tensor, once they are not too many."""
    if len(tensor.shape) > MOST_AXES or not 1 <= tensor.shape[0] <= BATCH_ROWS:
        raise wrong(f"inputs '{tensor.name}'", f"the shape {list(tensor.shape)}", f"1 to {BATCH_ROWS} rows")
    return tensor.shape[0]
