"""What was answered, in plain integers: a request adds to them, and now and then they go to Prometheus."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping

# Seconds. One row takes well under a millisecond, a batch of a thousand some tens.
BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)


class Tally:
    """The counts of one version of a model.

    They only grow, and one thread alone adds to them: another may read them at any moment and miss nothing
    but what it will see the next time.
    """

    __slots__ = ("buckets", "labels", "missing", "out_of_range", "seconds", "unknown_category")

    def __init__(self) -> None:
        """Nothing answered yet."""
        self.buckets = [0] * (len(BUCKETS) + 1)  # requests by the first bound that holds their seconds
        self.seconds = 0.0  # of all requests
        self.labels: defaultdict[str, int] = defaultdict(int)  # rows
        self.out_of_range: defaultdict[str, int] = defaultdict(int)  # rows by feature
        self.unknown_category: defaultdict[str, int] = defaultdict(int)
        self.missing: defaultdict[str, int] = defaultdict(int)

    def request(self, seconds: float) -> None:
        """Count one answered request."""
        self.buckets[bisect_left(BUCKETS, seconds)] += 1
        self.seconds += seconds

    def rows(self, labels: Iterable[str]) -> None:
        """Count rows by the class that was predicted."""
        counts = self.labels
        for label in labels:
            counts[label] += 1

    def oddities(
        self, out_of_range: Mapping[str, int], unknown_category: Mapping[str, int], missing: Mapping[str, int]
    ) -> None:
        """Count what was accepted although it is unusual: rows by feature."""
        for into, counts in (
            (self.out_of_range, out_of_range),
            (self.unknown_category, unknown_category),
            (self.missing, missing),
        ):
            for feature, times in counts.items():
                into[feature] += times
