"""What was answered, in plain integers: a request adds to them, and now and then they go to Prometheus."""

import threading
from bisect import bisect_left
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

# Seconds. One row takes well under a millisecond, a batch of a thousand some tens.
BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)
# Rows, and runs, that are looked at together: many more would hold up the event loop. A row costs the most in
# a run of its own, and a single caller waited for 512 of those.
AT_ONCE, RUNS_AT_ONCE = 512, 64

# Finds, in what some runs took: rows by feature that are out of range, of an unknown category, or missing.
Count: TypeAlias = Callable[[list[Any]], tuple[Mapping[str, int], Mapping[str, int], Mapping[str, int]]]


class Tally:
    """The counts of one version of a model.

    They only grow. The event loop's thread alone adds to them, but for oddities, which have a lock: another
    may read them at any moment and miss nothing but what it will see the next time.
    """

    __slots__ = (
        "_lock",
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
        self._waiting: deque[tuple[Count, Any]] = deque()
        self._size = 0  # rows of those, about
        self._lock = threading.Lock()  # for whoever counts what waits; nobody waits for it to answer

    def request(self, seconds: float, times: int = 1) -> None:
        """Count answered requests that took `seconds` each."""
        self.buckets[bisect_left(BUCKETS, seconds)] += times
        self.seconds += seconds * times

    def later(self, count: Count, rows: Any, size: int) -> None:
        """Have `count` look at `rows` together with others, which takes it a fraction of the time a row."""
        self._waiting.append((count, rows))
        self._size += size

    @property
    def due(self) -> bool:
        """Whether it is time to `settle`: best when the callers have their answers."""
        return self._size >= AT_ONCE or len(self._waiting) >= RUNS_AT_ONCE

    def settle(self) -> None:
        """Count what waits. Any thread may ask for it."""
        with self._lock:
            self._size = 0
            found: dict[Count, list[Any]] = {}
            for _ in range(len(self._waiting)):  # nobody else takes anything out
                count, rows = self._waiting.popleft()
                found.setdefault(count, []).append(rows)
            for count, many in found.items():
                self._add(*count(many))

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
