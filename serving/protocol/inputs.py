"""Tensors of a request against a contract: the features that they bring, whatever the form.

Whole columns are compared at once (`columns.py`). Where anything is not as the contract says, the rows go
through `decode_rows` as those of /predict do, which has the rule and the sentence for each value.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from contract.schema import Contract
from contract.strict import near_miss
from serving.http.bodies import BATCH_ROWS, RefusedError
from serving.protocol.columns import check
from serving.protocol.tensors import BYTES, FP32, MOST_AXES, Floats, Tensor, wrong
from serving.rows import NAME_LENGTH, Rows, RowsRefusedError

NUMBERS, CATEGORIES = "numbers", "categories"  # the inputs of every graph


@dataclass(frozen=True)
class Given:
    """The features of some rows, by column; nothing is checked yet but names, datatypes and shapes."""

    numbers: Floats  # (rows, numbers); NaN is missing
    words: list[list[str]]  # one list a category; "" is missing
    left_out: frozenset[str] = frozenset()  # features of the online store that no tensor has

    @property
    def rows(self) -> int:
        """How many."""
        return len(self.numbers)


def read_features(contract: Contract, tensors: Sequence[Tensor], others: Sequence[Tensor] = ()) -> Given:
    """The features that `tensors` bring: either the graph's inputs, or one tensor a feature.

    Where every feature may be left out, and is, `others` beside them say how many rows there are.

    Raises:
        RefusedError: 422, a tensor is unknown, missing, or of another datatype or shape.
    """
    given = {tensor.name: tensor for tensor in tensors}
    if given.keys() & {NUMBERS, CATEGORIES}:
        return _graph(contract, given)
    return _features(contract, given, others)


def to_rows(contract: Contract, given: Given) -> Rows:
    """The rows of `given`, where nothing is left to the online store.

    NaN and "" are what is missing, and refused where a feature may not be.

    Raises:
        RefusedError: 422, a value is not as the contract says.
    """
    try:
        return check(contract, given.numbers, given.words)
    except RowsRefusedError as error:
        raise one_sentence(error) from None


def one_sentence(error: RowsRefusedError) -> RefusedError:
    """What a client of the protocol shows of `error`: its first problem, and how many more there are."""
    first, others = error.problems[0], len(error.problems) - 1
    sentence = f"{first.field}: found {first.found}; expected {first.expected}"
    more = f" (and {others} more)" if others else ""
    return RefusedError(422, sentence + more, error.problems)


def refuse_repeated(tensors: Sequence[Tensor]) -> None:
    """Each tensor once.

    Raises:
        RefusedError: 422.
    """
    seen: set[str] = set()
    for tensor in tensors:
        if tensor.name in seen:
            raise wrong(f"inputs '{tensor.name[:NAME_LENGTH]}'", "the same tensor twice", "it once")
        seen.add(tensor.name)


def _graph(contract: Contract, given: dict[str, Tensor]) -> Given:
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
    strings = cast("list[str]", given[CATEGORIES].values) if CATEGORIES in wanted else []
    width = len(contract.categories)
    return Given(numbers, [strings[column::width] for column in range(width)])


def _features(contract: Contract, given: dict[str, Tensor], others: Sequence[Tensor]) -> Given:
    """One tensor a feature, (rows,) or (rows, 1). One that may be missing, or is stored, may be left out."""
    wanted = {f.name: (FP32 if f.kind == "number" else BYTES, 1) for f in contract.features}
    _compare_names(given, wanted, optional={f.name for f in contract.features if f.nullable or f.stored})
    if not given and not others:
        raise wrong("inputs", "nothing", f"at least one of {', '.join(wanted)}")
    rows = 0 if given else _count_rows(others[0])
    for name, tensor in given.items():
        _check_tensor(tensor, wanted[name][0])
        rows = rows or _count_rows(tensor)
        check_column(tensor, rows)
    numbers = np.full((rows, len(contract.numbers)), np.nan, dtype=np.float32)
    for column, feature in enumerate(contract.numbers):
        if feature.name in given:
            numbers[:, column] = given[feature.name].values
    absent = [""] * rows
    words = [list(map(str, given[f.name].values)) if f.name in given else absent for f in contract.categories]
    return Given(numbers, words, frozenset(f.name for f in contract.stored if f.name not in given))


def check_column(tensor: Tensor, rows: int) -> None:
    """Refuse a tensor that has not one value a row.

    Raises:
        RefusedError: 422.
    """
    if tensor.shape not in ((rows,), (rows, 1)):
        place = f"inputs '{tensor.name[:NAME_LENGTH]}'"
        raise wrong(place, f"the shape {list(tensor.shape)}", f"[{rows}] or [{rows}, 1]")


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


def _check_tensor(tensor: Tensor, datatype: str) -> None:
    if tensor.datatype != datatype:
        raise wrong(f"inputs '{tensor.name}'", f"the datatype {tensor.datatype}", datatype)


def _count_rows(tensor: Tensor) -> int:
    """The rows of the first tensor, once they are not too many."""
    if len(tensor.shape) > MOST_AXES or not 1 <= tensor.shape[0] <= BATCH_ROWS:
        raise wrong(f"inputs '{tensor.name}'", f"the shape {list(tensor.shape)}", f"1 to {BATCH_ROWS} rows")
    return tensor.shape[0]
