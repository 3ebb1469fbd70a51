"""What was read from the store a moment ago, so that it is not read again: bounded, and with a time limit."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

MICRO = 1_000_000


@dataclass(frozen=True, slots=True)
class Kept:
    """A value, of which moment it is, and when it was read."""

    value: Any
    moment: int  # microseconds
    read_at: float  # of the clock


class Cache:
    """Values by key. One is used again for its own moment and, for `seconds`, for the moments after it.

    So a feature is at most `seconds` older than the moment it is asked for, and an event that another process
    took in is seen at most `seconds` later. 0 seconds: nothing is kept.
    """

    def __init__(self, seconds: float, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        """Keep at most `most` values; the least recently used goes first."""
        self.seconds, self._most, self._clock = seconds, most, clock
        self._kept: OrderedDict[Hashable, Kept] = OrderedDict()
        self._lock = threading.Lock()
        self._cleared_at = float("-inf")
        self.hits = self.misses = 0

    def __len__(self) -> int:
        """How many values are kept."""
        return len(self._kept)

    def get(self, key: Hashable, moment: int) -> Any | None:
        """The value of `key` for `moment` (microseconds), None where it is to be read."""
        with self._lock:
            kept = self._kept.get(key)
            if (
                kept is not None
                and 0 <= moment - kept.moment <= self.seconds * MICRO
                and self._clock() - kept.read_at < self.seconds
            ):
                self._kept.move_to_end(key)
                self.hits += 1
                return kept.value
            self.misses += 1
            return None

    def put(self, key: Hashable, moment: int, value: Any, read_at: float) -> None:
        """Keep `value`, whose reading began at `read_at` by `now`."""
        if self.seconds <= 0:
            return
        with self._lock:
            if read_at <= self._cleared_at:  # it may lack what the clearing was about
                return
            self._kept[key] = Kept(value, moment, read_at)
            self._kept.move_to_end(key)
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)

    def now(self) -> float:
        """The clock that `put` is told."""
        return self._clock()

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._kept.clear()
            self._cleared_at = self._clock()
