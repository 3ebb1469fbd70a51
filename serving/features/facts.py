"""What an event or a look-up says, read strictly: keys, whole numbers, readings and moments."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from contract.errors import FlightlineError

Fact: TypeAlias = str | int | float | None
Key: TypeAlias = tuple[str | int, ...]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
MINUTE = 60_000_000  # microseconds


def microseconds(at: datetime) -> int:
    """`at` as whole microseconds since 1970.

    Raises:
        FlightlineError: it has no time zone.
    """
    if at.tzinfo is None:
        raise FlightlineError(f"the moment {at.isoformat()} has no time zone", "one, such as UTC", "Add it")
    return (at - EPOCH) // MICROSECOND


def moment_of(number: int) -> datetime:
    """The moment so many microseconds after 1970, in UTC."""
    return EPOCH + number * MICROSECOND


def read_key(where: str, by: tuple[str, ...], facts: Mapping[str, Fact]) -> Key | None:
    """The key `by` of `facts`; None where a part of it is unknown.

    Raises:
        FlightlineError: a part is absent, or a fraction.
    """
    key: list[str | int] = []
    for name in by:
        value = _fact(where, name, facts)
        if value is None:
            return None
        if isinstance(value, float):
            raise _wrong(where, name, value, "a word or a whole number")
        key.append(value)
    return tuple(key)


def read_number(where: str, name: str, facts: Mapping[str, Fact]) -> int | None:
    """A value that is summed: whole, so that sums are exact in every order.

    Raises:
        FlightlineError: it is absent, a word or a fraction.
    """
    value = _fact(where, name, facts)
    if value is None or isinstance(value, int):
        return value
    raise _wrong(where, name, value, "a whole number")


def read_value(where: str, name: str, facts: Mapping[str, Fact]) -> float | None:
    """A value whose latest one counts.

    Raises:
        FlightlineError: it is absent, a word or not finite.
    """
    value = _fact(where, name, facts)
    if value is None:
        return None
    if isinstance(value, str) or not math.isfinite(value):
        raise _wrong(where, name, value, "a finite number")
    return float(value)


def _fact(where: str, name: str, facts: Mapping[str, Fact]) -> Fact:
    if name not in facts:
        raise FlightlineError(f"{where} says nothing of '{name}'", "it, or null where unknown", "Add it")
    return facts[name]


def _wrong(where: str, name: str, value: Fact, expected: str) -> FlightlineError:
    return FlightlineError(f"{where} gives '{name}' as {value!r}", expected, "Correct it")
