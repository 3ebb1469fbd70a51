"""What was answered, in plain integers: a request adds to them, and now and then they go to Prometheus."""

import threading
from bisect import bisect_left
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol, TypeAlias

# Seconds. One row takes well under a millisecond, a batch of a thousand some tens.
BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)
# Rows that are looked at together: more would hold up the event loop, and fewer cost more each.
AT_ONCE = 256

# Rows by feature that are out of range, of an unknown category, or missing.
Found: TypeAlias = tuple[Mapping[str, int], Mapping[str, int], Mapping[str, int]]


class Counting(Protocol):
    """Who knows what is odd in what some runs took."""

    def count(self, runs: list[Any]) -> Iterator[Found]:
        """Find it, in parts, between which others may have a turn."""


class Tally:
    """The counts of one version of a model.

    They only grow. The event loop's thread alone adds to them, but for oddities, which have a lock: another
    may read them at any moment and miss nothing but what it will see the next time.
    """

    __slots__ = (
        "_lock",
        "_parts",
        "_size",
        "_waiting",
        "buckets",
        "labels",
        "missing",
        "out_of_range",
        "seconds",
        "unknown_category",
    )

    def __init__(self) -> None:
        """Nothing answered yet."""
        self.buckets = [0] * (len(BUCKETS) + 1)  # requests by the first bound that holds their seconds
        self.seconds = 0.0  # of all requests
        self.labels: defaultdict[str, int] = defaultdict(int)  # rows
        self.out_of_range: defaultdict[str, int] = defaultdict(int)  # rows by feature
        self.unknown_category: defaultdict[str, int] = defaultdict(int)
        self.missing: defaultdict[str, int] = defaultdict(int)
        self._waiting: deque[tuple[Counting, Any]] = deque()
        self._size = 0  # rows of those, about
        self._parts: Iterator[Found] | None = None  # of a settling that has begun
        self._lock = threading.Lock()  # for whoever counts what waits; nobody waits for it to answer

    def request(self, seconds: float, times: int = 1) -> None:
        """Count answered requests that took `seconds` each."""
        self.buckets[bisect_left(BUCKETS, seconds)] += times
        self.seconds += seconds * times

    def later(self, counting: Counting, rows: Any, size: int) -> None:
        """Have `rows` looked at together with others, which takes a fraction of the time a row."""
        self._waiting.append((counting, rows))
        self._size += size

    @property
    def due(self) -> bool:
        """Whether it is time to begin a settling: best when the callers have their answers."""
        return self._size >= AT_ONCE and self._parts is None

    def settle_some(self) -> bool:
        """Count a part of what waits; whether there may be more of it."""
        with self._lock:
            if self._parts is None:
                self._parts = self._found()
            found = next(self._parts, None)
            if found is None:
                self._parts = None
            else:
                self._add(*found)
            return found is not None

    def settle(self) -> None:
        """Count what waits, and end what was begun. Any thread may ask for it."""
        with self._lock:
            for parts in (self._parts or (), self._found()):
                for found in parts:
                    self._add(*found)
            self._parts = None

    def _found(self) -> Iterator[Found]:
        self._size = 0
        taken = [self._waiting.popleft() for _ in range(len(self._waiting))]  # nobody else takes any
        for counting in dict.fromkeys([item[0] for item in taken]):
            yield from counting.count([rows for by, rows in taken if by is counting])

    def rows(self, labels: Iterable[str]) -> None:
        """Count rows by the class that was predicted."""
        counts = self.labels
        for label in labels:
            counts[label] += 1

    def add(self, labels: Mapping[str, int]) -> None:
        """The same of rows that are counted already; of none there is nothing to count."""
        for label, times in labels.items():
            if times:
                self.labels[label] += times

    def oddities(
        self, out_of_range: Mapping[str, int], unknown_category: Mapping[str, int], missing: Mapping[str, int]
    ) -> None:
        """Count what was accepted although it is unusual: rows by feature."""
        with self._lock:
            self._add(out_of_range, unknown_category, missing)

    def _add(
        self, out_of_range: Mapping[str, int], unknown_category: Mapping[str, int], missing: Mapping[str, int]
    ) -> None:
        for into, counts in (
            (self.out_of_range, out_of_range),
            (self.unknown_category, unknown_category),
            (self.missing, missing),
        ):
            for feature, times in counts.items():
                into[feature] += times
