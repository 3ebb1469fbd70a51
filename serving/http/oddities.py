"""What is odd about rows that were accepted: counted by whole runs, when the callers have their answers."""

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
from serving.rows import Categories, Numbers


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

    def count(self, runs: list[Noted]) -> Iterator[Found]:
        """What `decode_rows` would have counted, a part for the numbers and one for each category."""
        if self._numbers:
            exact = [run.exact for run in runs]
            data = exact[0] if len(exact) == 1 else b"".join(exact)  # type: ignore[arg-type]  # it takes arrays
            yield self._count_numbers(data)
        width, odd = self._width, [run.words for run in runs if run.words]
        for column, name, known in self._counted if odd else ():
            words = Counter(chain.from_iterable(many[column::width] for many in odd))
            missing = words.pop("", 0)
            unknown = 0 if known is None else sum(words[word] for word in words.keys() - known)
            yield {}, {name: unknown} if unknown else {}, {name: missing} if missing else {}

    def _count_numbers(self, data: bytes | NDArray[np.float64]) -> Found:
        exact = np.frombuffer(data).reshape(-1, len(self._numbers))
        usual = (exact >= self._low) & (exact <= self._high)  # false of NaN, too
        odd, absent = (~usual).sum(axis=0).tolist(), np.isnan(exact).sum(axis=0).tolist()
        names = self._numbers
        missing = {name: times for name, times in zip(names, absent, strict=True) if times}
        pairs = zip(names, odd, absent, strict=True)
        return {name: times - none for name, times, none in pairs if times > none}, {}, missing


def _lenient_bounds(feature: Feature) -> tuple[float, float]:
    """The range outside of which a value is accepted and counted; the others were refused."""
    low, high = feature.minimum, feature.maximum
    if feature.out_of_range == "refuse":
        return -math.inf, math.inf
    return -math.inf if low is None else low, math.inf if high is None else high


def _known(feature: Feature) -> frozenset[str] | None:
    """The categories by which others are counted; None where none were declared, or others are refused."""
    declared = feature.categories if feature.unknown_category == "accept_and_count" else ()
    return frozenset(declared) if declared else None
