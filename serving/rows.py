"""Rows as a caller sends them, checked against a contract and turned into a model's arrays."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from contract.schema import Contract, Feature
from contract.strict import near_miss

Value: TypeAlias = float | str | None
Numbers: TypeAlias = NDArray[np.float32]
Categories: TypeAlias = NDArray[np.object_]

FLOAT32_MAX = float(np.finfo(np.float32).max)
# Whoever sends a thousand wrong values needs no thousand sentences, and must not make us search for them:
# a request may cost what it says, never what it says times what the contract declares.
MOST_PROBLEMS = 50
MOST_HINTS = 3  # searching for a near miss is the slowest thing that a bad request can ask for
NAME_LENGTH = 80


class Problem(msgspec.Struct, frozen=True):
    """One thing wrong with a request."""

    field: str
    found: str
    expected: str


class RowsRefusedError(ValueError):
    """At least one row is not what the contract says."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        """Keep what is wrong, in the order of the rows."""
        super().__init__(f"{len(problems)} problem(s)")
        self.problems = tuple(problems)


@dataclass(frozen=True)
class Rows:
    """Accepted rows: the values as sent, the arrays of the graph, and what was accepted but counted."""

    values: Sequence[Mapping[str, Value] | tuple[Value, ...]]  # by name, or in the order of the features
    numbers: Numbers  # (rows, numbers); missing is NaN
    categories: Categories | None  # (rows, categories); missing is ""; None where there are none
    out_of_range: Counter[str] = field(default_factory=Counter)  # rows by feature
    unknown_category: Counter[str] = field(default_factory=Counter)
    missing: Counter[str] = field(default_factory=Counter)


def decode_rows(contract: Contract, rows: Sequence[Any], prefix: str = "rows") -> Rows:
    """Check `rows` (decoded JSON) against `contract`; `prefix` names a single row in problems.

    Raises:
        RowsRefusedError: a row has an unknown, missing or wrong value.
    """
    problems = _Problems()
    known = frozenset(feature.name for feature in contract.features)
    counts = {"out_of_range": Counter[str](), "unknown_category": Counter[str](), "missing": Counter[str]()}
    accepted: list[dict[str, Value]] = []
    for index, row in enumerate(rows):
        place = prefix if prefix == "row" else f"{prefix}[{index}]"
        if not isinstance(row, dict):
            problems.add(place, in_words(row), "an object of feature names and values")
        else:
            if not row.keys() <= known:
                _refuse_unknown(row, known, place, problems)
            accepted.append({})
            for feature in contract.features:
                value, problem, counted = _check(feature, row.get(feature.name), problems)
                if problem is not None:
                    absent = feature.name not in row
                    found = "nothing" if absent else problem[0]
                    problems.add(f"{place}.{feature.name}", found, problem[1])
                accepted[-1][feature.name] = value
                if counted:
                    counts[counted][feature.name] += 1
        if problems.room <= 0:
            break
    if problems.found:
        raise RowsRefusedError(problems.found)
    return _arrays(contract, tuple(accepted), counts)


def allowed_range(feature: Feature) -> tuple[float, float]:
    """Beyond which a number is refused: it does not fit in 32 bits, or the contract says so."""
    low, high = -FLOAT32_MAX, FLOAT32_MAX
    if feature.out_of_range == "refuse":
        low = max(low, -math.inf if feature.minimum is None else feature.minimum)
        high = min(high, math.inf if feature.maximum is None else feature.maximum)
    return low, high


class _Problems:
    """What is wrong so far, up to the number that is reported, with hints for the first few."""

    def __init__(self) -> None:
        self.found: list[Problem] = []
        self._hints = MOST_HINTS

    @property
    def room(self) -> int:
        """How many more are reported."""
        return MOST_PROBLEMS - len(self.found)

    def add(self, field: str, found: str, expected: str) -> None:
        """Report one more, while there is room."""
        if self.room > 0:
            self.found.append(Problem(field, found, expected))

    def hint(self, word: str, known: Sequence[str]) -> str:
        """The near miss of `word`, for the first few."""
        if self.room <= 0 or self._hints <= 0:
            return ""
        self._hints -= 1
        return near_miss(word[:NAME_LENGTH], list(known))


def _refuse_unknown(row: dict[str, Any], known: frozenset[str], place: str, problems: _Problems) -> None:
    """Report the first names in `row` that no feature has; the rest is not even looked at."""
    for name in islice((name for name in row if name not in known), problems.room):
        hint = problems.hint(name, sorted(known))
        problems.add(f"{place}.{name[:NAME_LENGTH]}", "an unknown feature" + hint, "only declared features")


def _check(feature: Feature, value: Any, problems: _Problems) -> tuple[Value, tuple[str, str] | None, str]:
    """The accepted value, or (found, expected), and the name of the counter it belongs to."""
    if value is None:
        if feature.nullable:
            return None, None, "missing"
        return None, ("null", _expected(feature)), ""
    if feature.kind == "category":
        return _category(feature, value, problems)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None, (in_words(value), _expected(feature)), ""
    if not abs(value) <= FLOAT32_MAX:  # NaN fails every comparison, too
        return None, (in_words(value), "a finite number that fits in 32 bits"), ""
    number = float(value)
    if feature.in_range(number):
        return number, None, ""
    if feature.out_of_range == "refuse":
        return None, (f"{number:g}", _expected(feature)), ""
    return number, None, "out_of_range"


def _category(feature: Feature, value: Any, problems: _Problems) -> tuple[Value, tuple[str, str] | None, str]:
    if not isinstance(value, str):
        return None, (in_words(value), _expected(feature)), ""
    if not value or "\0" in value:  # "" is how a graph is told of a missing category
        return None, ("an empty string" if not value else "a NUL character", _expected(feature)), ""
    if not feature.categories or value in feature.categories:
        return value, None, ""
    if feature.unknown_category == "refuse":
        hint = problems.hint(value, feature.categories)
        return None, (f"'{value[:NAME_LENGTH]}'{hint}", _expected(feature)), ""
    return value, None, "unknown_category"


def _expected(feature: Feature) -> str:
    or_null = " or null" if feature.nullable else ""
    if feature.kind == "category":
        known = ", ".join(feature.categories[:8]) + (", ..." if len(feature.categories) > 8 else "")  # noqa: PLR2004 - a sentence's length
        return (
            "a string" + (f", one of {known}" if known and feature.unknown_category == "refuse" else "")
        ) + or_null
    low, high = feature.minimum, feature.maximum
    if feature.out_of_range == "refuse" and (low is not None or high is not None):
        bounds = [
            text for bound, text in ((low, f"at least {low}"), (high, f"at most {high}")) if bound is not None
        ]
        return f"a number, {' and '.join(bounds)}{or_null}"
    return "a number" + or_null


def in_words(value: Any) -> str:
    """A word for what was sent: short, whatever its size."""
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, str):
        return f"the string '{value[:40]}'"
    if isinstance(value, int | float):
        return f"{value:g}" if abs(value) < 1e300 or isinstance(value, float) else "a huge number"  # noqa: PLR2004 - digits
    return {list: "an array", dict: "an object", type(None): "null"}.get(type(value), type(value).__name__)


def _arrays(
    contract: Contract, values: tuple[dict[str, Value], ...], counts: dict[str, Counter[str]]
) -> Rows:
    names = [feature.name for feature in contract.numbers]
    numbers = np.array(
        [[math.nan if row[name] is None else row[name] for name in names] for row in values], dtype=np.float32
    ).reshape(len(values), len(names))
    words = [feature.name for feature in contract.categories]
    categories = None
    if words:
        categories = np.array([[row[name] or "" for name in words] for row in values], dtype=object)
        categories = categories.reshape(len(values), len(words))
    return Rows(values=values, numbers=numbers, categories=categories, **counts)
