"""What a request may say about its rows beside their features: entity ids, moments, keys of stored features.

As tensors `id`, `at` and `keys.NAME`, one value a row; or as parameters of the request under the same names,
which clients can send as scalars only: of all rows, or, an id, of the only one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from contract.schema import Contract
from contract.strict import near_miss
from serving.http.bodies import check_entity, check_moment
from serving.protocol.inputs import check_column
from serving.protocol.tensors import BYTES, INT64, Tensor, wrong
from serving.rows import NAME_LENGTH
from serving.settings import Clock

ID, AT, KEYS = "id", "at", "keys."


class When(NamedTuple):
    """The moment of a request, and whether its caller may name another."""

    now: datetime
    clock: Clock


@dataclass(frozen=True)
class Beside:
    """One item a row, each."""

    ids: list[str | None]
    moments: list[datetime]
    keys: list[dict[str, Any]] | None  # None: beside no row


def is_beside(contract: Contract, name: str) -> bool:
    """Whether a tensor or parameter of that name is about a row; a feature of the same name goes first."""
    known = any(feature.name == name for feature in contract.features)
    return not known and (name in (ID, AT) or name.startswith(KEYS))


def read_beside(
    contract: Contract,
    tensors: Sequence[Tensor],
    parameters: Mapping[str, Any],
    rows: int,
    when: When,
) -> Beside:
    """What `tensors` and `parameters` say about `rows` rows; all others of the parameters are not looked at.

    An empty string and null mean: not said, and of a key, unknown.

    Raises:
        RefusedError: 422, a value cannot be one, is said twice, or is of another datatype or shape.
    """
    columns = {tensor.name: _column(contract, tensor, rows) for tensor in tensors}
    for name, value in parameters.items():
        if not is_beside(contract, name):
            continue
        place = f"parameters '{name[:NAME_LENGTH]}'"
        if name in columns:
            raise wrong(place, "a value, and a tensor of that name", "one of them")
        _check_name(contract, name, place)
        if name in (ID, AT) and not isinstance(value, str):
            raise wrong(place, "no string", "a string")
        if name == ID and rows > 1:
            raise wrong(place, f"one id for {rows} rows", f"a tensor '{ID}' of {rows}")
        columns[name] = [value] * rows
    ids: list[str | None] = [None] * rows
    if ID in columns:
        ids = [check_entity(value, f"{ID}[{i}]") for i, value in enumerate(columns.pop(ID))]
    moments = [when.now] * rows
    if AT in columns:
        moments = _moments(columns.pop(AT), when)
    if not columns:
        return Beside(ids, moments, None)
    names = [name.removeprefix(KEYS) for name in columns]
    keys = [dict(zip(names, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    return Beside(ids, moments, keys)


def _moments(values: Sequence[str | None], when: When) -> list[datetime]:
    """The moments that `values` say; many rows have one, which is then read once."""
    known: dict[str | None, datetime] = {None: when.now}
    for index, value in enumerate(values):
        if value not in known:
            known[value] = check_moment(value, f"{AT}[{index}]", when.clock, when.now)
    return [known[value] for value in values]


def _column(contract: Contract, tensor: Tensor, rows: int) -> list[Any]:
    """The values of a tensor, one a row; None is what was not said."""
    place = f"inputs '{tensor.name[:NAME_LENGTH]}'"
    _check_name(contract, tensor.name, place)
    allowed = (BYTES,) if tensor.name in (ID, AT) else (BYTES, INT64)
    if tensor.datatype not in allowed:
        raise wrong(place, f"the datatype {tensor.datatype}", " or ".join(allowed))
    check_column(tensor, rows)
    return [None if value == "" else value for value in tensor.values]


def _check_name(contract: Contract, name: str, place: str) -> None:
    """Refuse a key that no stored feature of the contract has."""
    key = name.removeprefix(KEYS)
    if name not in (ID, AT) and key not in contract.keys:
        known = ", ".join(contract.keys)
        hint = near_miss(key[:NAME_LENGTH], list(contract.keys))
        raise wrong(place, "an unknown key" + hint, f"only {known}" if known else "none")
