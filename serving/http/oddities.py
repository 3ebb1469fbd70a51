"""What is odd about rows that were accepted: counted by whole runs, of few rows when they are answered."""

import math
from collections import Counter
from collections.abc import Iterator
from itertools import chain
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from contract.schema import Contract, Feature
from serving.http.admission import INLINE_ROWS
from serving.recording.tally import Found
from serving.rows import Categories, Numbers, allowed_range


class Packed(NamedTuple):
    """The values of some rows as arrays, a row each."""

    exact: NDArray[np.float64]  # the numbers as sent, by which is counted
    numbers: Numbers
    categories: Categories | None


class Noted(NamedTuple):
    """What is looked at when it is counted: few objects, since hundreds of these wait together."""

    exact: bytes | NDArray[np.float64]  # the numbers, a row after the other
    words: list[str]  # the categories, the same; none where all are usual


class Oddities:
    """Those of one contract."""

    def __init__(self, contract: Contract) -> None:
        """See what each feature lets in that is to be counted."""
        self._numbers = [feature.name for feature in contract.numbers]
        bounds = [_lenient_bounds(feature) for feature in contract.numbers]
        self._low, self._high = (np.array([bound[side] for bound in bounds]) for side in (0, 1))
        allowed = [allowed_range(feature) for feature in contract.numbers]
        self._least, self._most = (np.array([bound[side] for bound in allowed]) for side in (0, 1))
        self._width = len(contract.categories)
        # Which columns may hold something to be counted, and what is known of each.
        self._counted = [
            (column, feature.name, _known(feature))
            for column, feature in enumerate(contract.categories)
            if feature.nullable or _known(feature) is not None
        ]

    def noted(self, packed: Packed) -> Noted:
        """What is to be counted of `packed`."""
        words: list[str] = [] if packed.categories is None else packed.categories.ravel().tolist()
        if len(packed.exact) > INLINE_ROWS:  # these wait for nobody
            return Noted(packed.exact, words)
        return Noted(packed.exact.tobytes(), words if self._odd(words) else [])

    def _odd(self, words: list[str]) -> bool:
        """Whether a category may be one that is counted."""
        width = self._width
        for column, _, known in self._counted:
            values = words[column::width]
            if "" in values if known is None else not known.issuperset(values):
                return True
        return False

    def judged(self, packed: Packed) -> Found | None:
        """What `count` finds in one long run; None where a number is one that is refused."""
        columns, names = packed.exact.T, self._numbers
        least, most = np.fmin.reduce(columns, axis=1), np.fmax.reduce(columns, axis=1)  # NaN where all are
        if bool((least < self._least).any()) or bool((most > self._most).any()):
            return None
        out_of_range: dict[str, int] = {}
        for index in np.flatnonzero((least < self._low) | (most > self._high)).tolist():
            column = columns[index]
            beyond = (column < self._low[index]) | (column > self._high[index])
            out_of_range[names[index]] = int(np.count_nonzero(beyond))
        absent = np.count_nonzero(np.isnan(columns), axis=1).tolist()
        missing = {name: times for name, times in zip(names, absent, strict=True) if times}
        unknown: dict[str, int] = {}
        words = np.empty((0, 0), np.object_) if packed.categories is None else packed.categories
        for index, name, known in self._counted:
            _, strange, none = _count_words(name, known, words[:, index].tolist())
            unknown, missing = {**unknown, **strange}, {**missing, **none}
        return out_of_range, unknown, missing

    def count(self, runs: list[Noted]) -> Iterator[Found]:
        """What `decode_rows` would have counted, a part for the numbers and one for each category."""
        if self._numbers:
            exact = [run.exact for run in runs]
            data = exact[0] if len(exact) == 1 else b"".join(exact)  # type: ignore[arg-type]  # it takes arrays
            yield self._count_numbers(data)
        width, odd = self._width, [run.words for run in runs if run.words]
        for column, name, known in self._counted if odd else ():
            yield _count_words(name, known, list(chain.from_iterable(many[column::width] for many in odd)))

    def _count_numbers(self, data: bytes | NDArray[np.float64]) -> Found:
        exact = np.frombuffer(data).reshape(-1, len(self._numbers))
        usual = (exact >= self._low) & (exact <= self._high)  # false of NaN, too
        odd, absent = (~usual).sum(axis=0).tolist(), np.isnan(exact).sum(axis=0).tolist()
        names = self._numbers
        missing = {name: times for name, times in zip(names, absent, strict=True) if times}
        pairs = zip(names, odd, absent, strict=True)
        return {name: times - none for name, times, none in pairs if times > none}, {}, missing


class Judged:
    """Hands over what `Oddities.judged` has counted."""

    def count(self, runs: list[Found]) -> Iterator[Found]:
        """Each of them."""
        return iter(runs)


JUDGED = Judged()


def _count_words(name: str, known: frozenset[str] | None, words: list[str]) -> Found:
    """Of one category, those that are not known, if any are, and those that are missing."""
    if known is not None and known.issuperset(words):  # nearly always
        return {}, {}, {}
    times = Counter(words)
    missing = times.pop("", 0)
    unknown = 0 if known is None else sum(times[word] for word in times.keys() - known)
    return {}, {name: unknown} if unknown else {}, {name: missing} if missing else {}


def _lenient_bounds(feature: Feature) -> tuple[float, float]:
    """The range outside of which a value is accepted and counted; the others were refused."""
    low, high = feature.minimum, feature.maximum
    if feature.out_of_range == "refuse":
        return -math.inf, math.inf
    return -math.inf if low is None else low, math.inf if high is None else high


def _known(feature: Feature) -> frozenset[str] | None:
    """The categories by which others are counted; None where none were declared, or others are refused."""
    declared = feature.categories if feature.unknown_category == "accept_and_count" else ()
    return frozenset(declared) - {""} if declared else None
