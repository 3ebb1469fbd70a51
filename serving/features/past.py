"""What happened so far to one key of one stream, as running totals by moment."""

from array import array
from bisect import bisect_right
from collections.abc import Sequence

from serving.features.groups import Latest


class Past:
    """Running totals of whole numbers, and the latest values, at each moment with an event, in its order.

    Moments are microseconds. An event in order of time costs O(log n) of the n moments that are kept, a late
    one moves the moments after it: O(n). A look-up costs O(log n).
    """

    __slots__ = ("_latest", "_moments", "_totals", "_trimmed")

    def __init__(self, totals: int) -> None:
        """Keep nothing yet; `totals` numbers come with each event."""
        self._moments = array("q")
        self._totals = [array("q") for _ in range(totals)]
        self._latest: list[Latest] = []
        self._trimmed = False

    def __len__(self) -> int:
        """How many moments are kept."""
        return len(self._moments)

    def add(self, moment: int, numbers: Sequence[int], latest: Latest) -> None:
        """An event: `numbers` are added to the totals from its moment on, `latest` holds until a later event.

        Of several events at one moment the larger value stands for it, so that their order is no matter.
        """
        moments = self._moments
        if moments and moment > moments[-1]:  # as nearly always
            moments.append(moment)
            for total, number in zip(self._totals, numbers, strict=True):
                total.append(total[-1] + number)
            self._latest.append(latest)
            return
        place = bisect_right(moments, moment)
        if place and moments[place - 1] == moment:
            place -= 1
            self._latest[place] = tuple(map(_larger, self._latest[place], latest))
        elif place or not self._trimmed:
            moments.insert(place, moment)
            for total in self._totals:
                total.insert(place, total[place - 1] if place else 0)
            self._latest.insert(place, latest)
        # Else it came before all that is kept: it counts from the start, and is nobody's latest.
        for total, number in zip(self._totals, numbers, strict=True):
            if number:
                for later in range(place, len(total)):
                    total[later] += number

    def place(self, moment: int) -> int:
        """Where the last moment that is not after `moment` stands; -1 before the first."""
        return bisect_right(self._moments, moment) - 1

    def totals(self, place: int, width: int) -> tuple[int, ...]:
        """All `width` totals at a `place`; zeros before the first."""
        return tuple(total[place] for total in self._totals) if place >= 0 else (0,) * width

    def latest(self, place: int) -> Latest | None:
        """The latest values at a `place`; None before the first."""
        return self._latest[place] if place >= 0 else None

    def trim(self, moment: int) -> None:
        """Keep of the moments up to `moment` only the last, whose totals stand for all of them."""
        place = self.place(moment)
        if place > 0:
            del self._moments[:place], self._latest[:place]
            for total in self._totals:
                del total[:place]
            self._trimmed = True

    def ended(self, moment: int) -> bool:
        """Whether no event came after `moment`."""
        return not self._moments or self._moments[-1] <= moment


def _larger(one: float | None, other: float | None) -> float | None:
    if one is None or other is None:
        return other if one is None else one
    return max(one, other)
