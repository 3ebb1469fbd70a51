"""A fixed piece of work whose time says how fast this machine is just now.

Machines differ and shared ones change by the minute, so a time alone compares with nothing. Each figure
stands beside the time of this loop just before and after it; their ratio is what two machines can compare.
"""

import time
from collections.abc import Callable

import msgspec
import numpy as np

STEPS, SIZE = 400_000, 300_000  # together about 0.1 s on a core of 2024


class Figure(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One measurement, in seconds, with the calibration loop's time around it."""

    name: str
    seconds: float
    calibration_s: float
    target_s: float | None = None  # on two idle cores; None where nothing was asked for
    detail: str = ""

    def __post_init__(self) -> None:
        """Refuse a figure that could not be compared.

        Raises:
            ValueError: a time is missing or not positive.
        """
        if not (self.seconds > 0 and self.calibration_s > 0):
            raise ValueError(f"'{self.name}' took {self.seconds} s beside a loop of {self.calibration_s} s")

    @property
    def ratio(self) -> float:
        """How many calibration loops it took."""
        return self.seconds / self.calibration_s


def calibrate() -> float:
    """Seconds of the fixed loop: half of it plain Python, half NumPy on one core."""
    values = np.random.default_rng(0).random(SIZE)
    start = time.perf_counter()
    total = 0
    for step in range(STEPS):
        total += step * step % 7
    for _ in range(4):
        np.sort(values)
    return time.perf_counter() - start


def measured(
    name: str,
    work: Callable[[], object],
    *,
    repeat: int = 1,
    target_s: float | None = None,
    detail: str = "",
) -> Figure:
    """The mean time of `repeat` calls of `work`, and of the loop before and after them."""
    before = calibrate()
    start = time.perf_counter()
    for _ in range(repeat):
        work()
    seconds = (time.perf_counter() - start) / repeat
    return Figure(name, seconds, (before + calibrate()) / 2, target_s, detail)
