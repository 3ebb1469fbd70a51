"""Decoders of good bodies, made from a contract: bytes straight into its struct, or nothing."""

import re
from collections.abc import Callable
from typing import Annotated, Any, Literal

import msgspec
import numpy as np

from contract.schema import Contract, Feature
from serving.http.bodies import BATCH_ROWS, ID_LENGTH
from serving.rows import allowed_range

Decode = Callable[[bytes], Any]

_Text = Annotated[str, msgspec.Meta(min_length=1, max_length=ID_LENGTH)]
_LONG = 8_192  # bytes
_COLON = re.compile(rb'"[ \t\r\n]*:')


class Decoders:
    """Those of one contract; each gives None for what is not perfectly good."""

    def __init__(self, contract: Contract) -> None:
        """Compile them."""
        self.row = _by_feature("Row", contract, _value_type)
        self.one = _decoder("One", ("row", self.row), ("id", _Text | None, None), ("at", str | None, None))
        self.many = _many(self.row)
        self.columns = _columns(contract, _value_type)
        # Of thousands of numbers the range is looked at when they are an array: `Oddities.judged`.
        self.long_many = _many(_by_feature("Row", contract, _loose_type))
        self.long_columns = _columns(contract, _loose_type)


def all_once(data: bytes, keys: int) -> bool:
    """Whether no key of `data` is repeated, where `keys` different ones were decoded; if in doubt, False.

    Each key has one colon. Where there are as few colons as keys, none can have been lost. Colons inside of
    texts only add, and are then told apart by the quote that goes before.
    """
    if len(data) > _LONG:  # where counting in a few vectors is worth beginning
        colons = int(np.count_nonzero(np.frombuffer(data, np.uint8) == ord(":")))
    else:
        colons = data.count(b":")
    return colons == keys or len(_COLON.findall(data)) == keys


def _many(row: Any) -> Decode:
    most = msgspec.Meta(min_length=1, max_length=BATCH_ROWS)
    return _batch("Many", "rows", Annotated[list[row], most])


def _columns(contract: Contract, kind: Callable[[Feature], Any]) -> Decode:
    """The same of lists, a value a row."""
    most = msgspec.Meta(min_length=1, max_length=BATCH_ROWS)

    def values(feature: Feature) -> Any:
        return Annotated[list[kind(feature)], most]  # type: ignore[misc]  # a type made at run time

    return _batch("Columns", "columns", _by_feature("Values", contract, values))


def _batch(name: str, field: str, kind: Any) -> Decode:
    return _decoder(name, (field, kind), ("ids", list[_Text] | None, None), ("at", list[str] | None, None))


def _by_feature(name: str, contract: Contract, kind: Callable[[Feature], Any]) -> Any:
    """A struct with one required field a feature: the slow way judges, or completes, what is absent."""
    features = (*contract.numbers, *contract.categories)
    names = [f"f{index}" for index in range(len(features))]  # a feature may have any name
    return msgspec.defstruct(
        name,
        [(field, kind(feature)) for field, feature in zip(names, features, strict=True)],
        forbid_unknown_fields=True,
        rename=dict(zip(names, (feature.name for feature in features), strict=True)),
        gc=False,
    )


def _value_type(feature: Feature) -> Any:
    kind: Any
    if feature.kind == "number":
        low, high = allowed_range(feature)
        kind = Annotated[float, msgspec.Meta(ge=low, le=high)]
    elif feature.categories and feature.unknown_category == "refuse":
        kind = Literal[tuple(name for name in feature.categories if name and "\0" not in name)]
    else:
        kind = Annotated[str, msgspec.Meta(min_length=1)]
    return kind | None if feature.nullable else kind


def _loose_type(feature: Feature) -> Any:
    """The same, whatever the number."""
    if feature.kind != "number":
        return _value_type(feature)
    return float | None if feature.nullable else float


def _decoder(name: str, *fields: Any) -> Decode:
    kind = msgspec.defstruct(name, fields, forbid_unknown_fields=True, gc=False)
    decode = msgspec.json.Decoder(kind).decode

    def decoded(data: bytes) -> Any:
        # No category may hold NUL, which is cheaper to see here than in each.
        if b"\\" in data and b"\\u0000" in data:
            return None
        try:
            return decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None

    return decoded
